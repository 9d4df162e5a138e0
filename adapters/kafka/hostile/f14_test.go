package hostile_test

import (
	"context"
	"fmt"
	"slices"
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

// F14: a handler that hardly moves takes nothing from another that the same subscriber feeds: in the long form that one is
// at least 0.8 times as fast as alone, in the middle of five runs.
func TestSlowConsumerBesideAnother(t *testing.T) {
	const size, many = 1000, 5000
	n, runs := of(many, 40*many), of(1, 5)
	addr := broker(t)
	slow, fast := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	pub := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	for _, topic := range []string{slow, fast} {
		for batch := range n / many {
			ms := notes(fmt.Sprint("b", batch), many, 1000)
			for _, m := range ms {
				m.Payload = make([]byte, size)
			}
			if err := pub.Publish(topic, ms...); err != nil {
				t.Fatal(err)
			}
		}
	}
	// read reads all of the fast one, by a group of its own, and gives how long that took from the first message on.
	read := func(group string, beside bool) time.Duration {
		s := subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: group, DrainTimeout: 100 * time.Millisecond})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		messages, err := s.Subscribe(ctx, fast)
		if err != nil {
			t.Fatal(err)
		}
		if beside {
			held, err := s.Subscribe(ctx, slow)
			if err != nil {
				t.Fatal(err)
			}
			stop := every(10*time.Millisecond, func() {
				select {
				case m, open := <-held:
					if open {
						m.Ack()
					}
				default:
				}
			})
			defer stop()
		}
		(<-messages).Ack()
		begun := time.Now()
		for range n - 1 {
			(<-messages).Ack()
		}
		took := time.Since(begun)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return took
	}
	var alone, beside []time.Duration
	for run := range runs {
		alone = append(alone, read(fmt.Sprint(fast, "-alone-", run), false))
		beside = append(beside, read(fmt.Sprint(fast, "-beside-", run), true))
	}
	slices.Sort(alone)
	slices.Sort(beside)
	ratio := alone[runs/2].Seconds() / beside[runs/2].Seconds()
	t.Logf("%d messages in %v alone and in %v beside a slow one: %.2f times as fast", n, alone[runs/2], beside[runs/2], ratio)
	if least := of(0, 0.8); ratio < least {
		t.Errorf("beside a slow one it is %.2f times as fast, want %.1f", ratio, least)
	}
}
