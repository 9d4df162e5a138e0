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
		limits := channel.Limits{Body: 40, Headers: 16, Header: 512, HeaderBytes: 4096}
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
		messages := stream(t, s, topic)
		letters := stream(t, subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr)}), dead)
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

// stream subscribes.
func stream(t *testing.T, s *kafka.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return messages
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

// However narrow the limits of a subscriber are, what dies there has a dead letter: its own headers are not counted. Breaks if
// it is published within the same limits, for ever in vain, or is cut though it need not be.
func TestNarrowLimitsHaveDeadLetters(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	write := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	large, nacked := message.NewMessage("large", make([]byte, 2000)), message.NewMessage("nacked", []byte("body"))
	nacked.Metadata["a"], nacked.Metadata["b"] = "1", "2"
	if err := write.Publish(topic, large, nacked); err != nil {
		t.Fatal(err)
	}
	s := subscriber(t, kafka.SubscriberConfig{
		Cluster: cluster(addr), Group: topic, Limits: channel.Limits{Body: 1000, Headers: 2, Header: 200, HeaderBytes: 400},
		MaxAttempts: 1, DeadLetter: dead,
	})
	messages := stream(t, s, topic)
	letters := stream(t, subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr)}), dead)
	got := map[string]*message.Message{}
	for len(got) < 2 {
		select {
		case m := <-messages:
			m.Nack()
		case l := <-letters:
			got[l.Metadata["leat-dead-origin"]] = l
			l.Ack()
		case <-time.After(30 * time.Second):
			t.Fatalf("dead letters: %v", got)
		}
	}
	if l := got[topic+"/0/0"]; l == nil || l.Metadata["leat-dead-size"] != "2000" || len(l.Payload) != 2000 {
		t.Errorf("the letter of what was too large is %v", l)
	}
	if l := got[topic+"/0/1"]; l == nil || l.Metadata["leat-dead-size"] != "" || string(l.Payload) != "body" || l.Metadata["a"] != "1" || l.Metadata["b"] != "2" {
		t.Errorf("the letter of what was nacked is %v", l)
	}
}
