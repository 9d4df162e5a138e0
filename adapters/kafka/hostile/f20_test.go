package hostile_test

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F20: of a batch one partition takes its messages, another refuses them, a third has no leader, and of a fourth
// nobody knows. Each message's result says which: done, failed, unknown. What is sent again is the rest, and then each is on
// the topic once.
func TestPartialFailure(t *testing.T) {
	const n, keys = 300, 30
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, addr, 4)
	var books leattest.Ledger
	faults := fake.Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed, Count: -1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{2}, Err: kerr.NotLeaderForPartition, Count: -1},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Partitions: []int32{3}, Err: kerr.KafkaStorageError, Count: -1},
	)
	p := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr), SendTimeout: 2 * time.Second})
	ms := notes("m", n, keys)
	err := p.Publish(topic, ms...)
	failed, ok := errors.AsType[*kafka.PublishError](err)
	if !ok || failed.Of != n {
		t.Fatalf("publishing: %v, want a PublishError of %d", err, n)
	}
	on := map[string]bool{}
	for _, r := range read(t, addr, topic) {
		if r.Partition != 0 {
			t.Errorf("%s is on partition %d, which refuses", r.id(), r.Partition)
		}
		on[r.id()] = true
	}
	refused, unknown := 0, 0
	for _, f := range failed.Failed {
		if on[f.Message.UUID] {
			t.Errorf("%s: %v, and it is on the topic", f.Message.UUID, f.Err)
		}
		if errors.Is(f.Err, kafka.ErrUnknown) {
			unknown++
		} else {
			refused++
		}
	}
	if len(on) == 0 || refused == 0 || unknown == 0 || len(on)+refused+unknown != n {
		t.Errorf("%d done, %d failed, %d unknown, want some of each and %d in all", len(on), refused, unknown, n)
	}
	rest := failed.Rest()
	if len(rest) != refused+unknown {
		t.Errorf("%d to be sent again, want %d", len(rest), refused+unknown)
	}
	for _, m := range ms {
		books.Tried(m.UUID, "")
		books.Published(m.UUID, "")
	}
	// The publisher that gave up still tries what it said is unknown, until it is closed.
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	faults.Remove()
	if err := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)}).Publish(topic, rest...); err != nil {
		t.Error(err)
	}
	for _, r := range read(t, addr, topic) {
		books.Effect(r.id())
	}
	books.Check(t, 0)
}
