package flow

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// A Feed hands bodies to the flow as if they had arrived on a topic with that id. It returns nil when
// everything that the message caused is published and settled, or when the message is in the dead
// letter. An error says that the step it names has not taken it; of several steps on the topic, those
// before it have, so feed it again under the same id. It waits for retries, on the caller's goroutine,
// until ctx ends or the flow stops. Of a topic that every instance reads it reaches this process alone. It is
// safe for concurrent use.
type Feed[T any] func(ctx context.Context, id string, body T) error

// Into gives the way into a running flow for a program that has bodies and no broker in between: an
// HTTP handler, a test, a benchmark. The topic must be one that steps of the flow read.
func Into[T any](h *Handle, topic channel.Topic[T]) (Feed[T], error) {
	f, name := h.flow, string(topic)
	ins := f.feeds[name]
	if len(ins) == 0 {
		return nil, f.errorf("feeding topic %s: no step reads it", name)
	}
	if _, typ := topic.Address(); ins[0].typ != typ {
		return nil, f.errorf("feeding topic %s: step %s reads %v there, not %v", name, ins[0].step.name, ins[0].typ, typ)
	}
	return func(ctx context.Context, id string, body T) error {
		if err := h.enter(ctx, ins...); err != nil {
			return fmt.Errorf("flow %s: feeding topic %s: %w", f.name, name, err)
		}
		defer h.leave()
		a := channel.Arrival{Context: ctx, Topic: name, ID: id, Codecs: f.codecs, Body: body, HasBody: true}
		for _, in := range ins {
			a.Scope = in.step.scope
			if err := h.tel.newWork(in, &a).drive(h.pub, h.hurried); err != nil {
				return fmt.Errorf("feeding topic %s, step %s: %w", name, in.step.name, err)
			}
		}
		return nil
	}, nil
}
