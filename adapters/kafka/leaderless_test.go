package kafka

import (
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
)

// dead is an address at which nobody answers.
const dead = "127.0.0.1:1"

// One broker of those that are given is down. Breaks if who asks it first for a topic asks no other: then a part of all
// processes gets no further.
func TestOneBrokerIsDown(t *testing.T) {
	fake := kafkatest.Fake(t)
	alive := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, alive, 1)
	for i := range 10 { // each asks one of the two first, by chance
		c := Cluster{Brokers: []string{dead, alive}}
		if i%2 == 1 {
			c.Brokers = []string{alive, dead}
		}
		p, err := NewPublisher(PublisherConfig{Cluster: c, SendTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Ensure(t.Context(), []string{topic}); err != nil {
			t.Errorf("finding the topic: %v", err)
		}
		if err := p.Publish(topic, numbered(i, 1)...); err != nil {
			t.Error(err)
		}
		_ = p.Close()
		s, err := NewSubscriber(SubscriberConfig{Cluster: c})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Subscribe(t.Context(), topic); err != nil {
			t.Errorf("subscribing: %v", err)
		}
		_ = s.Close()
	}
}
