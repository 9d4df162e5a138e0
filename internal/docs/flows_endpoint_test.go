package docs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

func price(_ context.Context, o Order) (Invoice, error) { return toInvoice(o) }

func serviceActivator() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("price", Incoming, endpoint.Call(price, Invoices)), // with an answer
		flow.Step("mail", Invoices, endpoint.Do(mail)),               // without
		flow.Policy{DeadLetter: "orders.dead"})
}

// The services know nothing of messaging.
func Example_serviceActivator() {
	run(serviceActivator, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Lines: []string{"tea", "milk"}})
	})
	// Output:
	// invoice for A of 200 cents
}

// Audit is a handler that was written for a Watermill router.
func audit(m *message.Message) error {
	fmt.Println("audit", m.UUID, string(m.Payload))
	return nil
}

func messageEndpoint() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("audit", "orders.raw", endpoint.Wrap(audit)),
		flow.Policy{Attempts: 5, DeadLetter: "orders.dead"})
}

// The handler gets what it always got; the retries and the dead letter are new.
func Example_messageEndpoint() {
	run(messageEndpoint, func(k *leattest.Kit) {
		k.World.Put("orders.raw", "1", "as it came")
	})
	// Output:
	// audit 1 as it came
}

func idempotentReceiver() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("charge", Payments, endpoint.Do(charge),
			flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}})),
		flow.Policy{DeadLetter: "payments.dead"})
}

// The payment arrives twice, and is charged once.
func Example_idempotentReceiver() {
	run(idempotentReceiver, func(k *leattest.Kit) {
		for range 2 {
			leattest.Send(k, Payments, "payment-1", Payment{Cents: 250})
		}
		fmt.Println(k.Counts()["charge"])
	})
	// Output:
	// charged 250
	// received=2 done=1 dropped(duplicate)=1
}

// Desk is where orders come in: a form, a file, a webhook.
type Desk struct {
	emit func(context.Context, channel.Result) error
}

// Open is called when the flow starts.
func (d *Desk) Open(emit func(context.Context, channel.Result) error) { d.emit = emit }

// Shape says where it sends to.
func (d *Desk) Shape() channel.Shape {
	return channel.Shape{Pattern: "Channel Adapter", Outlets: []channel.Outlet{channel.Out("", Incoming)}}
}

// Take returns nil when the order is shipped, or is in the dead letter: then the desk may say thank you.
func (d *Desk) Take(ctx context.Context, o Order) error {
	return d.emit(ctx, channel.Send(channel.To(Incoming, o).ID(o.ID)))
}

// The desk of this example; a program has its own.
var desk = &Desk{}

func channelAdapter() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Source("desk", desk),
		flow.Step("ship", Incoming, endpoint.Do(ship)),
		flow.Direct(Incoming),
		flow.Policy{DeadLetter: "orders.dead"})
}

func Example_channelAdapter() {
	run(channelAdapter, func(*leattest.Kit) {
		fmt.Println(desk.Take(context.Background(), Order{ID: "A"}))
	})
	// Output:
	// shipped A
	// <nil>
}

var errBusy = errors.New("account is busy")

func competingConsumers() (*flow.Flow, error) {
	book := func(m channel.Message[Payment]) error {
		if m.ID() == "a1" && m.Attempt() == 1 {
			return errBusy
		}
		fmt.Println("booked", m.ID())
		return nil
	}
	return flow.New("bank",
		flow.Step("book", Payments, endpoint.DoMessage(book)),
		flow.Workers(8), // at once, of each partition; one of each key
		flow.Policy{Backoff: flow.Fixed(time.Minute), DeadLetter: "payments.dead"})
}

// While a1 waits for its retry, a2 of the same account waits behind it. The other account goes on.
func Example_competingConsumers() {
	run(competingConsumers, func(k *leattest.Kit) {
		for _, p := range []struct{ id, account string }{{"a1", "A"}, {"a2", "A"}, {"b1", "B"}} {
			leattest.Send(k, Payments, p.id, Payment{Cents: 100}, channel.HeaderKey, p.account)
		}
		k.Wait(time.Minute)
	})
	// Output:
	// booked b1
	// booked a1
	// booked a2
}
