package hostile_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// F14: a topic is full and its handler hardly moves. What the subscriber holds is a window, not the topic.
func TestSlowConsumer(t *testing.T) {
	const window, size = 16 << 20, 1000 // bytes
	waiting := of(100_000, 1_000_000)
	addr := broker(t)
	topic := kafkatest.Topic(t, addr, 1)
	pub := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	const many = 5000
	for batch := range waiting / many {
		ms := notes(fmt.Sprint("b", batch), many, 1000)
		for _, m := range ms {
			m.Payload = make([]byte, size)
		}
		if err := pub.Publish(topic, ms...); err != nil {
			t.Fatal(err)
		}
	}
	s := subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: topic, WindowBytes: window, DrainTimeout: 100 * time.Millisecond})
	peak := heap()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	messages, err := s.Subscribe(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range of(100, 3000) {
		<-tick.C
		m := <-messages
		m.Ack()
	}
	if most := peak(); most > window+64<<20 {
		t.Errorf("the heap grew by %d MiB while %d messages of %d bytes wait, want %d at most", most>>20, waiting, size, (window+64<<20)>>20)
	} else {
		t.Logf("the heap grew by %d MiB while %d messages of %d bytes wait", most>>20, waiting, size)
	}
}
