package kafka_test

import (
	"context"
	"fmt"
	"net"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/translator"
)

// inProcess is a Kafka in this process. Yours is kafka.Cluster{Brokers: []string{"127.0.0.1:9092"}}.
func inProcess() (kafka.Cluster, func()) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(network, _ string) (net.Listener, error) {
		return net.Listen(network, "127.0.0.1:0")
	}), kfake.SeedTopics(1, "orders", "invoices", "orders.dead"))
	if err != nil {
		panic(err)
	}
	return kafka.Cluster{Brokers: fake.ListenAddrs()}, fake.Close
}

// A publisher and a subscriber, as any of Watermill's.
func Example() {
	cluster, stop := inProcess()
	defer stop()
	pub, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: cluster})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pub.Close()
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: cluster, Group: "billing"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()

	order := message.NewMessage("order-1", []byte(`{"ID":"A"}`))
	order.Metadata.Set(channel.HeaderKey, "customer-7") // keeps the order of customer 7's messages
	if err := pub.Publish("orders", order); err != nil {
		fmt.Println(err)
		return
	}
	messages, err := sub.Subscribe(context.Background(), "orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	m := <-messages
	key, _ := kafka.MessageKeyFromCtx(m.Context())
	fmt.Println(m.UUID, string(key), string(m.Payload))
	m.Ack()
	// Output: order-1 customer-7 {"ID":"A"}
}

// A flow takes both as they are. With flow.ExactlyOnce what it sends and what it has read are committed
// together.
func Example_flow() {
	cluster, stop := inProcess()
	defer stop()
	f, err := flow.New("shop",
		flow.Step("invoice", channel.Topic[string]("orders"),
			translator.Map(func(o string) (string, error) { return "invoice for " + o, nil }, channel.Topic[string]("invoices"))),
		flow.Policy{Attempts: 3, DeadLetter: "orders.dead"},
		flow.ExactlyOnce())
	if err != nil {
		fmt.Println(err)
		return
	}
	pub, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: cluster, TransactionalID: "shop-0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pub.Close()
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: cluster, Group: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()
	if err := pub.Publish("orders", message.NewMessage("1", []byte(`"tea"`))); err != nil {
		fmt.Println(err)
		return
	}
	h, err := f.Start(context.Background(), pub, sub)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Stop()
	mailed := make(chan struct{})
	invoices, err := flow.New("mail",
		flow.Step("mail", channel.Topic[string]("invoices"), endpoint.Do(func(_ context.Context, text string) error {
			fmt.Println(text)
			close(mailed)
			return nil
		})), flow.Policy{DeadLetter: "orders.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	mail, err := invoices.Start(context.Background(), pub, sub.Group("mail"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer mail.Stop()
	<-mailed // a program waits for SIGTERM here
	// Output: invoice for tea
}

// What is missing is named when it is used, with what to do about it.
func ExampleErrNoTopic() {
	cluster, stop := inProcess()
	defer stop()
	pub, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: cluster})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pub.Close()
	fmt.Println(pub.Ensure(context.Background(), []string{"orders", "parcels"}))
	// Output: topic "parcels": topic does not exist: make it, or set Create in the publisher's or subscriber's config
}
