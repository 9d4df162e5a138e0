package flow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
)

// TestPutBackOnADirectTopic: no broker delivers there, so publishing it would lose it; the flow takes it.
func TestPutBackOnADirectTopic(t *testing.T) {
	const orders channel.Topic[string] = "orders"
	synctest.Test(t, func(t *testing.T) {
		broken, done := true, 0
		f, err := flow.New("f",
			flow.Step("do", orders, endpoint.Do(func(context.Context, string) error {
				if broken {
					return channel.Permanent(errors.New("broken"))
				}
				done++
				return nil
			})), flow.Direct(orders), flow.Policy{DeadLetter: "dead"})
		if err != nil {
			t.Fatal(err)
		}
		broker := &memory.Broker{}
		defer func() { _ = broker.Close() }()
		letters, err := broker.Subscriber("desk").Subscribe(t.Context(), "dead")
		if err != nil {
			t.Fatal(err)
		}
		h, err := f.Start(t.Context(), broker.Publisher(), broker.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		feed, err := flow.Into(h, orders)
		if err != nil {
			t.Fatal(err)
		}
		if err := feed(t.Context(), "o1", "one"); err != nil {
			t.Fatal(err)
		}
		letter := <-letters
		letter.Ack()
		if _, _, err := flow.PutBack(letter); !errors.Is(err, flow.ErrDirect) {
			t.Errorf("PutBack gives %v, want ErrDirect", err)
		}
		broken = false
		if err := h.PutBack(t.Context(), letter); err != nil || done != 1 {
			t.Errorf("the flow's PutBack: %v, done %d times", err, done)
		}
		letter.Metadata[flow.DeadScope] = "f/other"
		if err := h.PutBack(t.Context(), letter); !errors.Is(err, flow.ErrUnknownStep) {
			t.Errorf("a letter of another step: %v, want ErrUnknownStep", err)
		}
		if c := h.Counts()["do"]; c.Received != 2 || c.Dead != 1 || c.Done != 1 || !c.Balanced() {
			t.Errorf("counts %v", c)
		}
	})
}

// TestDeadLettersInACircleAreRefused: two steps that are each other's dead letter would pass a message
// on for ever.
func TestDeadLettersInACircleAreRefused(t *testing.T) {
	const a, b channel.Topic[[]byte] = "a", "b"
	do := endpoint.Do(func(context.Context, []byte) error { return nil })
	_, err := flow.New("f", flow.Step("one", a, do, flow.Policy{DeadLetter: b}), flow.Step("two", b, do, flow.Policy{DeadLetter: a}))
	if err == nil {
		t.Fatal("New takes it")
	}
	t.Log(err)
}
