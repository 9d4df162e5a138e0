package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/translator"
)

// A flow that is ExactlyOnce takes no subscriber that reads what is not committed, and names the setting. Breaks if it runs: then
// what came of a transaction that is aborted is committed.
func TestExactlyOnceRefusesReadUncommitted(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	in, out := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	same := func(s string) (string, error) { return s, nil }
	f, err := flow.New("f", flow.ExactlyOnce(), flow.Policy{DeadLetter: channel.Topic[[]byte](out)},
		flow.Step("a", channel.Topic[string](in), translator.Map(same, channel.Topic[string](out))))
	if err != nil {
		t.Fatal(err)
	}
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr), TransactionalID: in})
	h, err := f.Start(t.Context(), p, subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: in, ReadUncommitted: true}))
	if err == nil {
		h.Stop()
	}
	if !errors.Is(err, flow.ErrNoTransaction) || !errors.Is(err, kafka.ErrConfig) || !strings.Contains(err.Error(), "ReadUncommitted") {
		t.Errorf("Start gives %v", err)
	}
}

// A transaction publishes and commits both, or neither. Breaks if offsets are committed beside it, as the claim's are: within an
// hour, here.
func TestTransact(t *testing.T) {
	for name, addr := range map[string]string{"fake": kafkatest.Addr(kafkatest.Fake(t)), "real": kafkatest.Shared(t).Addr()} {
		t.Run(name, func(t *testing.T) {
			in, out := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
			group := in + "-g"
			p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr), TransactionalID: in})
			var ms []*message.Message
			for i := range 30 {
				ms = append(ms, message.NewMessage(fmt.Sprint(i), []byte("x")))
			}
			if err := p.Publish(in, ms...); err != nil {
				t.Fatal(err)
			}
			s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: group, CommitInterval: time.Hour})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := s.Claim(ctx, []string{in}, func(c adapters.Claim) {
				defer cancel()
				n := 0
				for n < 30 {
					run, err := c.Next(make([]*adapters.Record, 0, 10))
					if err != nil {
						t.Error(err)
						return
					}
					var outs []*adapters.Outgoing
					for i := range run {
						outs = append(outs, &adapters.Outgoing{Topic: out, ID: run[i].ID, Payload: run[i].Payload})
					}
					outs = append(outs, &adapters.Outgoing{Topic: out, ID: "big", Payload: make([]byte, 2_000_000)})
					if err := p.Transact(ctx, []adapters.Finished{{Claim: c, Records: run}}, outs); err == nil {
						t.Error("a message beyond the limits was published")
					}
					outs[len(outs)-1].Topic, outs[len(outs)-1].Payload = "nowhere-"+out, nil
					if n == 0 {
						if err := p.Transact(ctx, []adapters.Finished{{Claim: c, Records: run}}, outs); !errors.Is(err, kafka.ErrNoTopic) {
							t.Errorf("publishing to no topic: %v", err)
						}
					}
					if err := p.Transact(ctx, []adapters.Finished{{Claim: c, Records: run}}, outs[:len(run)]); err != nil {
						t.Error(err)
						return
					}
					n += len(run)
					limit := time.Now().Add(30 * time.Second)
					for got := int64(-1); got != int64(n); { // the marks of a transaction are written behind it
						if got = committed(t, addr, group, in); got > int64(n) || time.Now().After(limit) {
							t.Errorf("%d are committed, want %d", got, n)
							return
						}
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]int{}
			all, err := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr)}).Subscribe(t.Context(), out)
			if err != nil {
				t.Fatal(err)
			}
			for len(seen) < 30 {
				select {
				case m := <-all:
					m.Ack()
					if seen[m.UUID]++; seen[m.UUID] > 1 {
						t.Errorf("%s came %d times", m.UUID, seen[m.UUID])
					}
				case <-time.After(30 * time.Second):
					t.Fatalf("%d of 30 came", len(seen))
				}
			}
		})
	}
}
