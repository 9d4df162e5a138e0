package hostile_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// A flow on a router has stopped, and the router goes on for a while: what still comes is given back, again and again, is
// never dead, and waits for the next process. Breaks if the subscriber counts what the flow gives back.
func TestStoppedOnARouterThatGoesOn(t *testing.T) {
	const many = 5
	addr := broker(t)
	in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	var books leattest.Ledger
	var effects atomic.Int64
	f := newFlow(t, in, flow.Step("note", channel.Topic[string](in), endpoint.Do(func(_ context.Context, id string) error {
		books.Effect(id)
		effects.Add(1)
		return nil
	})), flow.Policy{Attempts: 3, DeadLetter: channel.Topic[[]byte](dead)})
	pub := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	reads := func() *kafka.Subscriber {
		return subscriber(t, kafka.SubscriberConfig{
			Cluster: quiet(addr), MaxAttempts: 2, DeadLetter: dead, DrainTimeout: time.Second,
			Backoff: kafka.Backoff{Base: time.Millisecond, Cap: time.Millisecond},
		})
	}
	r := message.NewDefaultRouter(watermill.NopLogger{})
	var back atomic.Int64
	r.AddMiddleware(func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			ms, err := h(m)
			if err != nil {
				back.Add(1)
			}
			return ms, err
		}
	})
	h, err := f.AddTo(r, pub, reads())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.WithoutCancel(t.Context())) }()
	<-r.Running()
	publish(t, &books, pub, in, notes("before", many, many)...)
	until(t, time.Minute, "the flow works", func() bool { return effects.Load() == many })
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, &books, pub, in, notes("after", many, many)...)
	until(t, time.Minute, "they are given back again and again", func() bool { return back.Load() >= 10*many })
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(read(t, addr, dead)); n != 0 {
		t.Errorf("%d dead letters of messages that nobody has tried", n)
	}
	_, stop := start(t, f, pub, reads())
	until(t, time.Minute, "the next process works on them", func() bool { return effects.Load() == 2*many })
	stop()
	leave(t, &books, addr, in, in)
	books.Check(t, 0)
}
