package memory_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// One goroutine publishes, one reads and acknowledges, both at once. Of the allocations 4 are the
// publisher's own NewMessage. "bounded" is the broker with its default Bound, so that the publisher
// waits; the others have no bound, as gochannel.
func BenchmarkSubscribe(b *testing.B) {
	b.Run("memory/Ordered", func(b *testing.B) { benchBroker(b, &memory.Broker{Order: adapters.Ordered, Bound: 1 << 30}) })
	b.Run("memory/Ordered/bounded", func(b *testing.B) { benchBroker(b, &memory.Broker{Order: adapters.Ordered}) })
	b.Run("memory/KeyOrdered", func(b *testing.B) { benchBroker(b, &memory.Broker{Bound: 1 << 30}) })
	b.Run("memory/Unordered", func(b *testing.B) { benchBroker(b, &memory.Broker{Order: adapters.Unordered, Bound: 1 << 30}) })
	b.Run("gochannel", func(b *testing.B) {
		g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1024}, watermill.NopLogger{})
		benchPubSub(b, g, g, nil)
	})
}

// As BenchmarkSubscribe, with 1,000 keys.
func BenchmarkSubscribeKeys(b *testing.B) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	b.Run("memory/KeyOrdered", func(b *testing.B) {
		broker := &memory.Broker{Bound: 1 << 30}
		benchPubSub(b, broker.Publisher(), broker.Subscriber("bench"), keys)
	})
	b.Run("gochannel", func(b *testing.B) {
		g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1024}, watermill.NopLogger{})
		benchPubSub(b, g, g, keys)
	})
}

func benchBroker(b *testing.B, broker *memory.Broker) {
	b.Helper()
	benchPubSub(b, broker.Publisher(), broker.Subscriber("bench"), nil)
}

func benchPubSub(b *testing.B, pub message.Publisher, sub message.Subscriber, keys []string) {
	b.Helper()
	b.ReportAllocs()
	messages, err := sub.Subscribe(context.Background(), "topic")
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	go func() {
		for i := range b.N {
			m := message.NewMessage("id", nil)
			if keys != nil {
				m.Metadata[channel.HeaderKey] = keys[i%len(keys)]
			}
			if err := pub.Publish("topic", m); err != nil {
				b.Error(err)
			}
		}
	}()
	for range b.N {
		m := <-messages
		m.Ack()
	}
	b.StopTimer()
	if err := sub.Close(); err != nil {
		b.Fatal(err)
	}
}

// One goroutine sends in batches of 256, a claim reads runs and finishes them: what a flow does.
func BenchmarkClaimAndSend(b *testing.B) {
	for _, keys := range []int{0, 1000} {
		for _, order := range []adapters.Order{adapters.KeyOrdered, adapters.Ordered} {
			b.Run(fmt.Sprintf("%v/%d keys", order, keys), func(b *testing.B) {
				benchClaim(b, &memory.Broker{Order: order}, keys)
			})
		}
	}
}

func benchClaim(b *testing.B, broker *memory.Broker, keys int) {
	b.Helper()
	b.ReportAllocs()
	names := make([]string, max(keys, 1))
	for i := range keys {
		names[i] = strconv.Itoa(i)
	}
	sub, pub := broker.Subscriber("bench"), broker.Publisher()
	if err := sub.SubscribeInitialize("topic"); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	go func() {
		// As a flow does, no more than a window is under way at once.
		const window = 2048
		free := make(chan struct{}, window)
		done := func(outs []*adapters.Outgoing) {
			for range outs {
				<-free
			}
		}
		for n := 0; n < b.N; {
			block := make([]adapters.Outgoing, min(256, b.N-n))
			outs := make([]*adapters.Outgoing, len(block))
			for i := range block {
				block[i] = adapters.Outgoing{Topic: "topic", ID: "id", Key: names[(n+i)%len(names)]}
				outs[i] = &block[i]
				free <- struct{}{}
			}
			pub.Send(outs, done)
			n += len(outs)
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	err := sub.Claim(ctx, []string{"topic"}, func(c adapters.Claim) {
		run := make([]*adapters.Record, 0, 256)
		for n := 0; n < b.N; {
			rs, err := c.Next(run)
			if err != nil {
				b.Error(err)
				return
			}
			c.Finish(rs)
			n += len(rs)
		}
	})
	cancel()
	if err != nil {
		b.Fatal(err)
	}
}
