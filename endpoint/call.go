package endpoint

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// An AnsweringActivator calls a service with each message and sends its answer on. An error of the
// service is the message's, as with ServiceActivator. If the answer cannot be published, the publish
// alone is tried again, not the call. It is safe for concurrent use if Act is.
//
// Source: Service Activator (two-way), Enterprise Integration Patterns, page 532.
type AnsweringActivator[T, R any] struct {
	Act func(m channel.Message[T]) (R, error) // required
	To  channel.Topic[R]                      // required; the answers
}

// Call calls a function that knows nothing of messaging. Its context ends when the message's deadline
// passes or the flow gives the message back.
func Call[T, R any](act func(ctx context.Context, body T) (R, error), to channel.Topic[R]) AnsweringActivator[T, R] {
	a := AnsweringActivator[T, R]{To: to}
	if act != nil { // A nil one is for Shape to report.
		a.Act = func(m channel.Message[T]) (R, error) { return act(m.Context(), m.Body) }
	}
	return a
}

// Process calls the service and sends its answer.
func (a AnsweringActivator[T, R]) Process(m channel.Message[T]) (channel.Result, error) {
	answer, err := a.Act(m)
	if err != nil {
		return channel.Result{}, err
	}
	return channel.Send(channel.To(a.To, answer)), nil
}

// Shape has the outlet "answer".
func (a AnsweringActivator[T, R]) Shape() channel.Shape {
	s := channel.Shape{
		Pattern: "Service Activator",
		Outlets: []channel.Outlet{channel.Out("answer", a.To)},
		Effect:  channel.Acts,
		Err:     topicErr(errCall, string(a.To)),
	}
	if a.Act == nil {
		s.Err = errors.Join(fmt.Errorf("%w: Act is nil: give it the function to call", errCall), s.Err)
	}
	return s
}

var errCall = errors.New("endpoint.Call")

// topicErr says what is wrong with the topic that block sends to.
func topicErr(block error, topic string) error {
	switch {
	case topic == "":
		return fmt.Errorf("%w: To is empty: name the topic it sends to", block)
	case channel.IsPattern(topic):
		return fmt.Errorf("%w: To is %q, which stands for many topics: name one", block, topic)
	}
	return nil
}
