package kafka_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A paused topic brings nothing, and another of the same subscriber goes on; resumed, it brings what was published meanwhile.
// Breaks if a pause is forgotten, is of every topic, or loses something.
func TestPause(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	paused, other := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: paused})
	s.Pause(paused)
	held, err := s.Subscribe(t.Context(), paused)
	if err != nil {
		t.Fatal(err)
	}
	open, err := s.Subscribe(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(topic, id string) {
		t.Helper()
		if err := p.Publish(topic, message.NewMessage(id, nil)); err != nil {
			t.Fatal(err)
		}
	}
	take := func(from, not <-chan *message.Message, id string) {
		t.Helper()
		select {
		case m := <-from:
			if m.Ack(); m.UUID != id {
				t.Fatalf("%s came, want %s", m.UUID, id)
			}
		case m := <-not:
			t.Fatalf("%s came of a paused topic", m.UUID)
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not come", id)
		}
	}
	publish(paused, "1")
	for _, id := range []string{"2", "3", "4"} { // each after one poll of the broker at least
		publish(other, id)
		take(open, held, id)
	}
	s.Resume(paused)
	take(held, nil, "1")
}
