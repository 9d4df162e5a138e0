package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// Handler is one block alone as a handler for a plain Watermill router: a flow of one step, so that
// nothing behaves differently there. The name is the scope of what it remembers and of its ids.
//
//	h, err := flow.Handler("charge", endpoint.Wrap(charge), pub, flow.Around(idempotency.Receiver{Store: seen}), policy)
//	r.AddConsumerHandler("charge", "payments", sub, h)
//
// A publisher whose topics have to exist is asked for them (see Flow.Start), but not for the one that the
// router reads. A block with time or a second way in needs New and AddTo, and is refused.
func Handler[T any](name string, block channel.Processor[T], pub message.Publisher, parts ...Part) (message.NoPublishHandlerFunc, error) {
	f, err := alone(name, block, parts)
	if err != nil {
		return nil, err
	}
	if err := f.checkPublisher(pub); err != nil {
		return nil, err
	}
	if err := f.ensure(context.Background(), pub, nil); err != nil {
		return nil, err
	}
	h := f.handle(context.Background(), pub, nil)
	h.tel.start(nil)
	return h.handler(f.steps[0].inlets), nil
}

var (
	errAlone  = errors.New("a block alone has one way in: use flow.New and AddTo for a clock or a second inlet")
	errPurely = errors.New("flow.HandlerFunc is for a pure block with one outlet: use flow.Handler")
	errTopic  = errors.New("the handler publishes to another topic than the block's outlet")
	errSettle = errors.New("the block has something to settle after the publish, which a HandlerFunc cannot do: use flow.Handler")
)

func alone[T any](name string, block channel.Processor[T], parts []Part) (*Flow, error) {
	f, err := New(name, append([]Part{Step(name, channel.Topic[T](name), block, Scope(name))}, parts...)...)
	if err != nil {
		return nil, err
	}
	if len(f.steps) != 1 || len(f.steps[0].inlets) != 1 {
		return nil, f.errorf("%w", errAlone)
	}
	if f.exactlyOnce {
		return nil, f.errorf("%w", errRouted)
	}
	f.alone = true
	return f, nil
}

// HandlerFunc is a pure block with one outlet as a Watermill HandlerFunc: the router publishes what it
// returns, and retries and poison queues are the router's. It refuses other blocks, and a router that
// publishes to another topic than the block's outlet, and a Policy among the parts.
func HandlerFunc[T any](name string, block channel.Processor[T], parts ...Part) (message.HandlerFunc, error) {
	f, err := alone(name, block, append([]Part{Policy{Redeliver: true}}, parts...))
	if err != nil {
		return nil, err
	}
	s := f.steps[0]
	if s.shape.Effect != channel.Pure || len(s.outlets) != 1 || s.outlets[0].pattern {
		return nil, f.errorf("%w", errPurely)
	}
	s.outlets[0].place = created(s.outlets[0].place)
	outlet, tel := s.outlets[0].Topic, f.telemetry()
	tel.start(nil)
	return func(m *message.Message) ([]*message.Message, error) {
		if topic := message.PublishTopicFromCtx(m.Context()); topic != "" && topic != outlet {
			return nil, f.errorf("%w: %s, not %s", errTopic, topic, outlet)
		}
		w := tel.messageWork(s.inlets[0], m)
		w.tries = 1
		w.env.SetAttempt(1)
		if w.tracer != nil || w.meter != nil {
			w.begin()
		}
		err := w.attempt()
		if err == nil && len(w.settles) > 0 {
			err = errSettle
		}
		if err != nil {
			w.err = err
			w.abandon(err)
			w.back()
			return nil, fmt.Errorf("flow %s, message %q: %w", name, m.UUID, err)
		}
		out := w.produced()
		w.end()
		return out, nil
	}, nil
}

func (w *work) produced() (ms []*message.Message) {
	for _, o := range w.outs {
		ms = append(ms, watermill(o))
		w.sent(o, nil)
	}
	return ms
}
