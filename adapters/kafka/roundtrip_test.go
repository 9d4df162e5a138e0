package kafka_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

func cluster(addr string) kafka.Cluster { return kafka.Cluster{Brokers: []string{addr}} }

func publisher(t *testing.T, c kafka.PublisherConfig) *kafka.Publisher {
	t.Helper()
	p, err := kafka.NewPublisher(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func subscriber(t *testing.T, c kafka.SubscriberConfig) *kafka.Subscriber {
	t.Helper()
	s, err := kafka.NewSubscriber(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// What is published is delivered, once, with id, key, metadata and payload as they were; by a channel and by
// claims, in a group and without.
func TestRoundTrip(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 3)
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	const n = 3000
	var ms []*message.Message
	for i := range n {
		m := message.NewMessage(fmt.Sprint(i), []byte(fmt.Sprint("body ", i)))
		m.Metadata.Set("leat-key", fmt.Sprint("key ", i%100))
		m.Metadata.Set("n", fmt.Sprint(i))
		ms = append(ms, m)
	}
	if err := p.Publish(topic, ms...); err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"g", ""} {
		s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: group})
		ctx, cancel := context.WithCancel(t.Context())
		ch, err := s.Subscribe(ctx, topic)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		deadline := time.After(20 * time.Second)
		for len(seen) < n {
			select {
			case m := <-ch:
				if seen[m.UUID]++; seen[m.UUID] > 1 {
					t.Errorf("group %q: %s came again", group, m.UUID)
				}
				i, err := strconv.Atoi(m.UUID)
				if want := "body " + m.UUID; err != nil || string(m.Payload) != want || m.Metadata.Get("n") != m.UUID || m.Metadata.Get("leat-key") != fmt.Sprint("key ", i%100) || len(m.Metadata) != 2 {
					t.Fatalf("got %q %v, want %q", m.Payload, m.Metadata, want)
				}
				m.Ack()
			case <-deadline:
				t.Fatalf("group %q: %d of %d after 20 s", group, len(seen), n)
			}
		}
		cancel()
		for m := range ch {
			t.Errorf("group %q: %s came after the end", group, m.UUID)
		}
		if group == "g" {
			if got := committed(t, addr, group, topic); got != n {
				t.Errorf("%d of %d are committed", got, n)
			}
		}
	}
}

// committed adds up a group's offsets of a topic.
func committed(t *testing.T, addr, group, topic string) (sum int64) {
	t.Helper()
	admin, err := sarama.NewClusterAdmin([]string{addr}, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	resp, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range resp.Blocks[topic] {
		sum += max(b.Offset, 0)
	}
	return sum
}
