package flow_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
)

// One line puts a receiver, retries and a dead letter around a handler that exists already.
func ExampleHandler() {
	broker := &memory.Broker{}
	defer broker.Close()
	r := message.NewDefaultRouter(nil)
	charge := func(m *message.Message) error {
		fmt.Println("charged", m.UUID)
		return nil
	}
	h, err := flow.Handler("charge", endpoint.Wrap(charge), broker.Publisher(),
		flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}}),
		flow.Policy{DeadLetter: "payments.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	r.AddConsumerHandler("charge", "payments", broker.Subscriber("g"), func(m *message.Message) error {
		err := h(m)
		if n++; n == 2 {
			go r.Close()
		}
		return err
	})
	for range 2 { // the sender sends it twice
		if err := broker.Publisher().Publish("payments", message.NewMessage("p1", []byte("42"))); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := r.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: charged p1
}

// A pure block with one way out is a handler of a router that publishes.
func ExampleHandlerFunc() {
	h, err := flow.HandlerFunc("large", router.Filter(func(o Order) bool { return o.Total > 10 }, EU))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, payload := range []string{`{"ID":"o1","Total":3}`, `{"ID":"o2","Total":30}`} {
		out, err := h(message.NewMessage("id", []byte(payload)))
		fmt.Println(len(out), err)
	}
	// Output:
	// 0 <nil>
	// 1 <nil>
}

var ErrNoStock = errors.New("no stock")

// Some errors deserve more patience than others, and some none.
func ExamplePolicy() {
	policy := flow.Policy{
		Attempts:   3,
		Backoff:    flow.Exponential(100*time.Millisecond, time.Minute),
		DeadLetter: "orders.dead",
		Rules: []flow.Rule{
			{When: flow.When(ErrNoStock), Attempts: 20, Backoff: flow.Fixed(time.Minute)},
		},
	}
	_, err := flow.New("orders", policy,
		flow.Step("ship", EU, endpoint.Do(func(_ context.Context, o Order) error {
			if o.Total < 0 {
				return channel.Permanent(errors.New("negative total")) // no retry helps
			}
			return ErrNoStock
		})))
	fmt.Println(err)
	// Output: <nil>
}

// A dead letter that was mended is put back, for the step it died at alone.
func ExamplePutBack() {
	letter := message.NewMessage("o1", []byte(`{"ID":"o1"}`))
	letter.Metadata = message.Metadata{
		"tenant": "blue", flow.DeadTopic: "orders.eu", flow.DeadScope: "orders/invoice", flow.DeadError: "no stock",
	}
	topic, m, err := flow.PutBack(letter)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(topic, m.UUID, string(m.Payload), m.Metadata["tenant"], "for", m.Metadata[channel.HeaderOnly])
	// Output: orders.eu o1 {"ID":"o1"} blue for orders/invoice
}
