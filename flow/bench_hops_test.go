package flow_test

import (
	"context"
	"slices"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

// BenchmarkTwoHops carries 256 bytes over two hops in memory: by ours in strict order, on the flow's
// engine, at least and exactly once, and on a Watermill router, and by GoChannel on a Watermill router with handlers that pass the
// message through.
func BenchmarkTwoHops(b *testing.B) {
	for name, parts := range map[string][]flow.Part{"run": nil, "run, exactly once": {flow.ExactlyOnce()}} {
		b.Run(name, func(b *testing.B) {
			broker := &memory.Broker{Order: adapters.Ordered}
			h, err := twoHops(b, parts...).Start(b.Context(), broker.Publisher(), broker.Subscriber("f"))
			if err != nil {
				b.Fatal(err)
			}
			carry(b, broker.Publisher(), broker.Subscriber("sink"))
			h.Stop()
			_ = broker.Close()
		})
	}
	b.Run("addto", func(b *testing.B) {
		broker := &memory.Broker{Order: adapters.Ordered}
		r := message.NewDefaultRouter(watermill.NopLogger{})
		if _, err := twoHops(b).AddTo(r, broker.Publisher(), broker.Subscriber("f")); err != nil {
			b.Fatal(err)
		}
		running(b, r, func() { carry(b, broker.Publisher(), broker.Subscriber("sink")) })
		_ = broker.Close()
	})
	b.Run("gochannel", func(b *testing.B) {
		g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1024}, watermill.NopLogger{})
		r := message.NewDefaultRouter(watermill.NopLogger{})
		r.AddHandler("a", "in", g, "mid", g, message.PassthroughHandler)
		r.AddHandler("b", "mid", g, "out", g, message.PassthroughHandler)
		running(b, r, func() { carry(b, g, g) })
	})
}

func twoHops(b *testing.B, parts ...flow.Part) *flow.Flow {
	b.Helper()
	const in, mid, out channel.Topic[[]byte] = "in", "mid", "out"
	f, err := flow.New("f", append(slices.Clip(parts),
		flow.Step("a", in, router.Content(router.Otherwise(mid))),
		flow.Step("b", mid, router.Content(router.Otherwise(out))),
		flow.Policy{DeadLetter: "dead"})...)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func running(b *testing.B, r *message.Router, f func()) {
	b.Helper()
	over := make(chan error, 1)
	go func() { over <- r.Run(context.Background()) }()
	<-r.Running()
	f()
	_ = r.Close()
	if err := <-over; err != nil {
		b.Fatal(err)
	}
}

func carry(b *testing.B, pub message.Publisher, sub message.Subscriber) {
	b.Helper()
	out, err := sub.Subscribe(context.Background(), "out")
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 256)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		for i := range b.N {
			if err := pub.Publish("in", message.NewMessage(strconv.Itoa(i), payload)); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	for range b.N {
		m := <-out
		m.Ack()
	}
	b.StopTimer()
}
