package kafka_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// What is published within Limits is a message to whoever reads with the same, however near to them it is, by Publish and by
// Send; what is not is refused. Breaks if a publisher takes what its readers park.
func TestPublishedWithinLimitsIsRead(t *testing.T) {
	for seed := range leattest.Seeds(t, 1) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		addr := kafkatest.Addr(kafkatest.Fake(t))
		topic, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
		limits := channel.Limits{Body: 40, Headers: 3, Header: 60, HeaderBytes: 120}
		p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr), Limits: limits})
		near := func(limit int) int { return max(0, limit-3+rnd.IntN(5)-rnd.IntN(2)*rnd.IntN(limit)) }
		text := func(n int) string { return strings.Repeat("x", n) }
		want, refused := map[string]bool{}, 0
		for i := range 2000 {
			m := message.NewMessage(fmt.Sprint(i, "-"), []byte(text(near(limits.Body))))
			m.UUID += text(max(0, near(limits.Header-len(kafka.HeaderID))-len(m.UUID)))
			for n := range near(limits.Headers) {
				name := fmt.Sprint("h", n)
				m.Metadata[name] = text(max(0, near(limits.Header)-len(name)) / (1 + rnd.IntN(2)))
			}
			if rnd.IntN(2) == 0 {
				m.Metadata[channel.HeaderKey] = text(near(limits.Header - len(channel.HeaderKey)))
			}
			if rnd.IntN(20) == 0 {
				m.Metadata[kafka.HeaderID] = "mine"
			}
			err := publishEither(p, topic, m, rnd.IntN(2) == 0, text(near(limits.Header)))
			switch {
			case err == nil:
				want[m.UUID] = true
			case errors.Is(err, channel.ErrTooLarge), errors.Is(err, kafka.ErrForged):
				refused++
			default:
				t.Fatal(err)
			}
		}
		if len(want) < 200 || refused < 200 {
			t.Fatalf("%d are within limits and %d are not: that shows nothing", len(want), refused)
		}
		s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: topic, Limits: limits, MaxAttempts: 1, DeadLetter: dead})
		messages, err := s.Subscribe(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		letters, err := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr)}).Subscribe(t.Context(), dead)
		if err != nil {
			t.Fatal(err)
		}
		for n := len(want); n > 0; n-- {
			select {
			case m := <-messages:
				if !want[m.UUID] {
					t.Fatalf("%q was not published, or comes again", m.UUID)
				}
				delete(want, m.UUID)
				m.Ack()
			case l := <-letters:
				t.Fatalf("what was published is no message: %s (%s)", l.Metadata["leat-dead-error"], leattest.Replay(t, seed))
			case <-time.After(30 * time.Second):
				t.Fatalf("%d are missing", n)
			}
		}
	}
}

// publishEither publishes by Publish, or by Send under a key.
func publishEither(p *kafka.Publisher, topic string, m *message.Message, send bool, key string) error {
	if !send {
		return p.Publish(topic, m)
	}
	o := &adapters.Outgoing{Topic: topic, ID: m.UUID, Payload: m.Payload, Key: key}
	for k, v := range m.Metadata {
		if k != channel.HeaderKey {
			o.Headers = append(o.Headers, channel.Field{Name: k, Value: v})
		}
	}
	done := make(chan struct{})
	p.Send([]*adapters.Outgoing{o}, func([]*adapters.Outgoing) { close(done) })
	<-done
	return o.Err
}
