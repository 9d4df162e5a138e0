package memory_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
)

// A broker needs no configuration. What is published before anybody reads is kept.
func Example() {
	broker := &memory.Broker{}
	defer broker.Close()
	if err := broker.Publisher().Publish("orders", message.NewMessage("1", []byte("tea")), message.NewMessage("2", []byte("milk"))); err != nil {
		fmt.Println(err)
		return
	}
	orders, err := broker.Subscriber("billing").Subscribe(context.Background(), "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		m := <-orders
		fmt.Println(m.UUID, string(m.Payload))
		m.Ack()
	}
	// Output:
	// 1 tea
	// 2 milk
}

// Every group sees every message; the members of one share them.
func ExampleBroker_Subscriber() {
	broker := &memory.Broker{Order: adapters.Ordered}
	defer broker.Close()
	groups := []string{"billing", "shipping"}
	orders := make([]<-chan *message.Message, len(groups))
	for i, group := range groups {
		var err error
		if orders[i], err = broker.Subscriber(group).Subscribe(context.Background(), "orders"); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := broker.Publisher().Publish("orders", message.NewMessage("1", nil)); err != nil {
		fmt.Println(err)
		return
	}
	for i, group := range groups {
		m := <-orders[i]
		fmt.Println(group, "got order", m.UUID)
		m.Ack()
	}
	// Output:
	// billing got order 1
	// shipping got order 1
}

// A nacked message comes again, before what follows it.
func ExampleAgain() {
	broker := &memory.Broker{}
	defer broker.Close()
	orders, err := broker.Subscriber("billing").Subscribe(context.Background(), "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := broker.Publisher().Publish("orders", message.NewMessage("1", nil), message.NewMessage("2", nil)); err != nil {
		fmt.Println(err)
		return
	}
	m := <-orders
	m.Nack()
	for range 2 {
		m = <-orders
		fmt.Println(m.UUID, "delivered", memory.Again(m.Context()), "times before")
		m.Ack()
	}
	// Output:
	// 1 delivered 1 times before
	// 2 delivered 0 times before
}

// A claim reads in runs and settles them as they are done: what a flow does.
func ExampleSubscriber_Claim() {
	broker := &memory.Broker{}
	defer broker.Close()
	var sent sync.WaitGroup
	sent.Add(2)
	broker.Publisher().Send([]*adapters.Outgoing{
		{Topic: "orders", ID: "1", Key: "tea", Payload: []byte("{}")},
		{Topic: "orders", ID: "2", Key: "tea", Payload: []byte("{}")},
	}, func(outs []*adapters.Outgoing) {
		for _, o := range outs {
			fmt.Println("sent", o.ID, o.Err)
			sent.Done()
		}
	})
	sent.Wait()
	err := broker.Subscriber("billing").Claim(context.Background(), []string{"orders"}, func(c adapters.Claim) {
		run, err := c.Next(make([]*adapters.Record, 0, 256))
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, r := range run {
			fmt.Println("read", r.Native, r.ID, r.Key)
		}
		c.Finish(run)
	})
	fmt.Println(err)
	// Output:
	// sent 1 <nil>
	// sent 2 <nil>
	// read orders/0 1 tea
	// read orders/1 2 tea
	// <nil>
}
