package idempotency_test

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// In a flow the receiver is given to flow.Around; this is what the flow does with it.
func ExampleReceiver() {
	receiver := idempotency.Receiver{Store: &idempotency.Memory{}}

	for _, id := range []string{"a", "b", "a"} {
		var e channel.Envelope
		e.Arrive(&channel.Arrival{Context: context.Background(), Scope: "shop/charge", ID: id, Payload: []byte("10 EUR")})

		answer, exit, err := receiver.Enter(&e)
		if err != nil {
			fmt.Println(err)
			return
		}
		if answer.Outcome() == channel.Dropped {
			fmt.Println(id, "dropped:", answer.Reason())
			continue
		}
		fmt.Println(id, "charged")
		result, _ := exit(channel.Done(), nil)
		// Here everything the message caused is published. Only then is it marked.
		if err := result.Settler()(context.Background(), nil); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// a charged
	// b charged
	// a dropped: duplicate
}

// A producing handler of a plain Watermill router: what it returned is published again for a duplicate,
// under the same id, and the handler does not run.
func ExampleReceiver_Middleware() {
	receiver := idempotency.Receiver{Store: &idempotency.Memory{}}
	n := 0
	handler := receiver.Middleware("shop/invoice")(func(m *message.Message) ([]*message.Message, error) {
		n++
		return message.Messages{message.NewMessage(fmt.Sprint("invoice-", n), m.Payload)}, nil
	})

	for range 2 {
		out, err := handler(message.NewMessage("order-7", []byte("10 EUR")))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(out[0].UUID, string(out[0].Payload))
	}
	fmt.Println("handler ran:", n)
	// Output:
	// invoice-1 10 EUR
	// invoice-1 10 EUR
	// handler ran: 1
}

// A webhook's delivery id tells duplicates apart that arrive as two messages.
func ExampleByHeader() {
	receiver := idempotency.Receiver{Store: &idempotency.Memory{}, Key: idempotency.ByHeader("delivery")}
	fmt.Println(receiver.Shape().Err)
	// Output:
	// <nil>
}

// A memory says how much it had to forget.
func ExampleMemory_Stats() {
	seen := &idempotency.Memory{Max: 4}
	ctx := context.Background()
	for i := range 10 {
		c, err := seen.Begin(ctx, idempotency.BeginRequest{Scope: "shop/charge", Key: strconv.Itoa(i), Lease: idempotency.Endless})
		if err == nil {
			err = seen.Commit(ctx, idempotency.CommitRequest{Claim: c, Remember: idempotency.Endless})
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	st := seen.Stats()
	fmt.Println(st.Done, "remembered,", st.Forgotten, "forgotten")
	// Output:
	// 4 remembered, 6 forgotten
}
