package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A mailbox is what a subscription has delivered.
type mailbox struct {
	mu   sync.Mutex
	seen map[string]int
}

func (b *mailbox) put(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seen == nil {
		b.seen = map[string]int{}
	}
	b.seen[id]++
	return nil
}

// has waits for n messages, and fails the test if one came twice.
func (b *mailbox) has(t *testing.T, n int) {
	t.Helper()
	until(t, time.Minute, fmt.Sprintf("%d messages are delivered", n), func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.seen) >= n
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, times := range b.seen {
		if times != 1 {
			t.Errorf("%s is delivered %d times", id, times)
		}
	}
	if len(b.seen) > n {
		t.Errorf("%d messages are delivered, want %d", len(b.seen), n)
	}
}

// Without a group every subscriber sees everything, what comes on new partitions too, and after its connections
// are gone it goes on where it was.
func TestWithoutGroup(t *testing.T) {
	addr := broker(t)
	topic := kafkatest.Topic(t, addr, 2)
	pub := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	var boxes [2]mailbox
	var lines kafkatest.Lines
	for i := range boxes {
		c := quiet(addr)
		c.Dial = lines.Dial
		subscribe(t, kafka.SubscriberConfig{Cluster: c, RefreshInterval: 200 * time.Millisecond}, topic, boxes[i].put)
	}
	n := 0
	more := func(what string, pub message.Publisher) {
		if err := pub.Publish(topic, notes(what, 100, 50)...); err != nil {
			t.Fatal(err)
		}
		n += 100
		for i := range boxes {
			boxes[i].has(t, n)
		}
	}
	more("first", pub)
	lines.Break()
	more("after the cut", pub)
	cl := client(t, addr)
	admin, err := sarama.NewClusterAdminFromClient(cl)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := admin.CreatePartitions(topic, 6, nil, false); err != nil {
		t.Fatal(err)
	}
	more("with new partitions", publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)}))
	on := map[int32]bool{}
	for _, r := range read(t, addr, topic) {
		on[r.Partition] = true
	}
	if len(on) < 3 {
		t.Errorf("the messages are on %d partitions: nothing is on a new one", len(on))
	}
}

// What a follower was about to read is deleted. It goes on at the oldest message there is, says so, and is caught up when it has
// read what is left. Breaks if that partition is never read again, or if nobody ever hears that the follower is caught up.
func TestFollowerIsOvertaken(t *testing.T) {
	const n, left = 2000, 100
	addr := kafkatest.Shared(t).Addr()
	topic := kafkatest.Topic(t, addr, 1)
	var log diary
	ms := notes("m", n, 1)
	for _, m := range ms {
		m.Metadata["fill"] = strings.Repeat("x", 1000)
	}
	if err := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)}).Publish(topic, ms...); err != nil {
		t.Fatal(err)
	}
	s := subscriber(t, kafka.SubscriberConfig{
		Cluster: kafka.Cluster{Brokers: []string{addr}, Logger: log.logger()}, Window: 2, FetchBytes: 2000,
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var got []string
	err := s.Follow(ctx, []string{topic}, func(c adapters.Claim) {
		for {
			run, err := c.Next(make([]*adapters.Record, 0, 1))
			if err != nil {
				return
			}
			if len(got) == 0 {
				deleteBefore(t, addr, topic, n-left)
			}
			got = append(got, run[0].ID)
			c.Finish(run)
		}
	}, func() { cancel(errStop) })
	if err != nil {
		t.Error(err)
	}
	read := len(got) - left
	for i, id := range got {
		if i >= read {
			i += n - left - read
		}
		if want := ms[i].UUID; id != want {
			t.Fatalf("of %d messages number %d is %s, want %s", len(got), i, id, want)
		}
	}
	told := 0
	for _, l := range log.all() {
		if l.level == slog.LevelError {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d errors are logged, want 1: %v", told, log.all())
	}
	if read >= n-left {
		t.Error("nothing was deleted before it was read")
	}
}

// deleteBefore deletes what is before an offset of a topic's only partition.
func deleteBefore(t *testing.T, addr, topic string, offset int64) {
	t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(client(t, addr))
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = admin.Close() }()
	if err := admin.DeleteRecords(topic, map[int32]int64{0: offset}); err != nil {
		t.Error(err)
	}
}

var errStop = errors.New("the test is over")

// A follower is caught up once, when everything that was there is finished; the end of a transaction, which is no
// message, does not keep it.
func TestCaughtUp(t *testing.T) {
	const n = 100
	addr := kafkatest.Shared(t).Addr()
	topic := kafkatest.Topic(t, addr, 3)
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	c.Producer.Return.Successes, c.Producer.Idempotent, c.Producer.RequiredAcks, c.Net.MaxOpenRequests = true, true, sarama.WaitForAll, 1
	c.Producer.Transaction.ID = topic
	p, err := sarama.NewSyncProducer([]string{addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, end := range []func() error{p.CommitTxn, p.AbortTxn} { // those that are aborted come last
		if err := p.BeginTxn(); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(fmt.Sprint(i)), Value: sarama.StringEncoder("v")}); err != nil {
				t.Fatal(err)
			}
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	s := subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr)})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var mu sync.Mutex
	finished, calls, at := 0, 0, 0
	err = s.Follow(ctx, []string{topic}, func(c adapters.Claim) {
		for {
			run, err := c.Next(make([]*adapters.Record, 0, 7))
			if err != nil {
				return
			}
			mu.Lock()
			finished += len(run)
			mu.Unlock()
			c.Finish(run)
		}
	}, func() {
		mu.Lock()
		defer mu.Unlock()
		calls++
		at = finished
		cancel(errStop)
	})
	if err != nil {
		t.Error(err)
	}
	if calls != 1 || at != n || finished != n {
		t.Errorf("caught up %d times, first with %d of %d finished, %d in the end", calls, at, n, finished)
	}
}
