package flow_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// A Tariff is a rule: it holds from when an instance has read it.
type Tariff struct {
	Region string
	Cents  int
}

const Tariffs channel.Topic[Tariff] = "tariffs"

// A Pricer makes invoices by the tariffs that its instance has read.
type Pricer struct{ byRegion sync.Map }

func (p *Pricer) Process(m channel.Message[Order]) (channel.Result, error) {
	cents, ok := p.byRegion.Load(m.Body.Region)
	if !ok {
		return channel.Result{}, channel.ErrNoRoute
	}
	return channel.Send(channel.To(Invoices, Invoice{m.Body.ID, m.Body.Total * cents.(int)})), nil
}

func (p *Pricer) Shape() channel.Shape {
	tariffs := channel.In("tariffs", Tariffs, func(m channel.Message[Tariff]) (channel.Result, error) {
		p.byRegion.Store(m.Body.Region, m.Body.Cents)
		return channel.Done(), nil
	})
	tariffs.Broadcast = true
	return channel.Shape{
		Pattern: "Message Translator",
		Inlets:  []channel.Inlet{tariffs}, Outlets: []channel.Outlet{channel.Out("priced", Invoices)},
	}
}

// Every instance reads the tariffs, from the first one, before it takes an order. Orders they share.
func Example_everyInstance() {
	broker := &memory.Broker{Keep: []string{string(Tariffs)}}
	defer broker.Close()
	put := func(topic, id, body string) {
		if err := broker.Publisher().Publish(topic, message.NewMessage(id, []byte(body))); err != nil {
			fmt.Println(err)
		}
	}
	put("tariffs", "t1", `{"Region":"EU","Cents":100}`)
	put("tariffs", "t2", `{"Region":"US","Cents":80}`)
	put("orders.incoming", "o1", `{"ID":"A","Region":"EU","Total":2}`)
	put("orders.incoming", "o2", `{"ID":"B","Region":"US","Total":2}`)
	invoices, err := broker.Subscriber("desk").Subscribe(context.Background(), "invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	var instances [2]*flow.Handle
	for i := range instances {
		f, err := flow.New("pricing", flow.Step("price", Incoming, &Pricer{}), flow.Policy{DeadLetter: "orders.dead"})
		if err != nil {
			fmt.Println(err)
			return
		}
		if instances[i], err = f.Start(context.Background(), broker.Publisher(), broker.Subscriber("pricing")); err != nil {
			fmt.Println(err)
			return
		}
	}
	for range 2 {
		m := <-invoices
		fmt.Println(string(m.Payload))
		m.Ack()
	}
	for _, h := range instances {
		h.Stop()
	}
	// Unordered output:
	// {"Order":"A","Cents":200}
	// {"Order":"B","Cents":160}
}
