package flow_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

type Order struct {
	ID     string
	Region string
	Total  int
}

type Invoice struct {
	Order string
	Cents int
}

const (
	Incoming channel.Topic[Order]   = "orders.incoming"
	EU       channel.Topic[Order]   = "orders.eu"
	US       channel.Topic[Order]   = "orders.us"
	Invoices channel.Topic[Invoice] = "invoices"
)

func isFrom(region string) func(Order) bool {
	return func(o Order) bool { return o.Region == region }
}

func toInvoice(o Order) (Invoice, error) { return Invoice{o.ID, o.Total * 100}, nil }

// A flow is declared, checked, and runs until its context ends: here until the invoice was seen.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	f, err := flow.New("orders",
		flow.Step("by-region", Incoming, router.Content(
			router.When("eu", isFrom("EU"), EU),
			router.When("us", isFrom("US"), US),
		)),
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Step("print", Invoices, endpoint.Do(func(_ context.Context, i Invoice) error {
			fmt.Println("invoice for", i.Order, "of", i.Cents, "cents")
			stop()
			return nil
		})),
		flow.Policy{Attempts: 3, DeadLetter: "orders.dead"},
	)
	if err != nil {
		fmt.Println(err) // every mistake of every step, by name
		return
	}
	broker := &memory.Broker{}
	defer broker.Close()
	order := message.NewMessage(watermill.NewUUID(), []byte(`{"ID":"o1","Region":"EU","Total":3}`))
	if err := broker.Publisher().Publish(string(Incoming), order); err != nil {
		fmt.Println(err)
		return
	}
	if err := f.Run(ctx, broker.Publisher(), broker.Subscriber(f.Name())); err != nil {
		fmt.Println(err)
	}
	// Output: invoice for o1 of 300 cents
}

// Everything that is wrong is said at once.
func ExampleNew() {
	_, err := flow.New("orders",
		flow.Step("by-region", Incoming, router.Content(
			router.Otherwise(EU),
			router.When("us", nil, US),
		)),
		flow.Step("invoice", EU, translator.Map(toInvoice, "")),
	)
	fmt.Println(err)
	// Output:
	// flow orders: step by-region: Content-Based Router: router.Content: branch 1 ("otherwise") is Otherwise with branches after it, which nothing would reach: make it the last
	// router.Content: branch 2 ("us") has no predicate: give it one, or make it Otherwise
	// flow orders: step invoice: Message Translator: translator.Map: To is empty: name the topic it sends to
	// flow orders: step by-region: an error has no way out: give New or the step a flow.Policy with a DeadLetter, or one that says Redeliver
	// flow orders: step invoice: an error has no way out: give New or the step a flow.Policy with a DeadLetter, or one that says Redeliver
	// flow orders: step invoice: outlet "translated" has no topic
}

// A flow joins a router that has handlers of its own.
func ExampleFlow_AddTo() {
	broker := &memory.Broker{}
	defer broker.Close()
	r := message.NewDefaultRouter(nil)
	f, err := flow.New("orders",
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Policy{DeadLetter: "orders.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := f.AddTo(r, broker.Publisher(), broker.Subscriber(f.Name())); err != nil {
		fmt.Println(err)
		return
	}
	r.AddConsumerHandler("print", string(Invoices), broker.Subscriber("mine"), func(m *message.Message) error {
		fmt.Println(string(m.Payload))
		go r.Close()
		return nil
	})
	order := message.NewMessage("o1", []byte(`{"ID":"o1","Total":3}`))
	if err := broker.Publisher().Publish(string(EU), order); err != nil {
		fmt.Println(err)
		return
	}
	if err := r.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: {"Order":"o1","Cents":300}
}

// Direct hops need no broker: a flow can be fed by a program and keep everything in the process.
func ExampleInto() {
	f, err := flow.New("orders",
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Step("print", Invoices, endpoint.Do(func(_ context.Context, i Invoice) error {
			fmt.Println(i)
			return nil
		})),
		flow.Direct(EU, Invoices),
		flow.Policy{Redeliver: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := f.Start(context.Background(), nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Stop()
	feed, err := flow.Into(h, EU)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := feed(context.Background(), "o1", Order{ID: "o1", Total: 3}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(h.Counts()["print"])
	// Output:
	// {o1 300}
	// received=1 done=1
}

// The drawing is made of the flow itself.
func ExampleFlow_Mermaid() {
	f, err := flow.New("orders",
		flow.Step("by-region", Incoming, router.Content(
			router.When("eu", isFrom("EU"), EU),
			router.When("us", isFrom("US"), US),
		)),
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Direct(EU),
		flow.Policy{DeadLetter: "orders.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(f.Mermaid())
	// Output:
	// flowchart LR
	//   n1["by-region<br/>Content-Based Router"]
	//   n2["invoice<br/>Message Translator"]
	//   n3(["orders.dead"])
	//   n4(["orders.us"])
	//   n5(["invoices"])
	//   n6(["orders.incoming"])
	//   n1 ==>|"eu: orders.eu"| n2
	//   n1 -.-> n3
	//   n1 -->|"us"| n4
	//   n2 -.-> n3
	//   n2 -->|"translated"| n5
	//   n6 --> n1
}
