package kafka

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A coordinator that refuses a commit because the member is none, or another has its name, says that the partition is
// another's: who works on it is told at once. Breaks if only a heartbeat finds that out, which here none does.
func TestCommitSaysThatItIsLost(t *testing.T) {
	for _, because := range []*kerr.Error{kerr.UnknownMemberID, kerr.FencedInstanceID} {
		t.Run(because.Message, func(t *testing.T) {
			fake := kafkatest.Fake(t)
			var expelled atomic.Bool
			refuseCommits(fake, because, func(kmsg.OffsetCommitRequestTopicPartition) bool { return expelled.Load() })
			c := newCrowd(t, kafkatest.Addr(fake), 1)
			c.publish(ids("m", 2)...)
			c.own(2, func(x adapters.Claim, rs []*adapters.Record) bool {
				expelled.Store(true)
				x.Finish(rs[:1])
				select {
				case <-x.Context().Done():
				case <-time.After(10 * time.Second):
					t.Error("a claim that is lost goes on")
				}
				if err := context.Cause(x.Context()); !errors.Is(err, adapters.ErrLost) {
					t.Errorf("its context ends because %v", err)
				}
				expelled.Store(false)
				return false
			})
		})
	}
}

// What was finished before a partition was lost is not committed after that: the next owner's commit would be undone.
// Breaks if a commit minds only what is finished.
func TestLostIsNotCommitted(t *testing.T) {
	c := newCrowd(t, kafkatest.Addr(kafkatest.Fake(t)), 1)
	c.publish(ids("m", 2)...)
	c.own(2, func(x adapters.Claim, rs []*adapters.Record) bool {
		mine := x.(*claim)
		mine.mu.Lock() // both before the member's next commit
		mine.finish(rs)
		mine.lost = true
		mine.mu.Unlock()
		if err := mine.owner.(*member).commit(mine); err != nil {
			t.Error(err)
		}
		return false
	})
	c.is(c.own(2, func(adapters.Claim, []*adapters.Record) bool { return false }), ids("m", 2)...)
}

// A partition is lost while a transaction asks that offsets may be added to it. Its member is in the group, in a newer
// generation, so the coordinator would take the offset. Breaks if that is the only one who is asked: the partition's next
// owner and this one both commit what they made of the same messages.
func TestLostWhileOffsetsAreAdded(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	both := halves(t, addr, 3)
	out := kafkatest.Topic(t, addr, 1)
	gone, ours := both[0], both[1]
	fake.ControlKey(int16(kmsg.AddOffsetsToTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		gone.claim.mu.Lock()
		defer gone.claim.mu.Unlock()
		gone.claim.lost = true
		return nil, nil, false //nolint:nilnil // The fake answers by itself.
	})
	p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{addr}}, TransactionalID: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	err = p.Transact(t.Context(), []adapters.Finished{{Claim: gone.claim, Records: gone.run}, {Claim: ours.claim, Records: ours.run}},
		relay(out, append(gone.run[:3:3], ours.run...)))
	if !errors.Is(err, adapters.ErrLost) {
		t.Errorf("a transaction with a partition that is another's: %v", err)
	}
	if err := p.Transact(t.Context(), []adapters.Finished{{Claim: ours.claim, Records: ours.run}}, relay(out, ours.run)); err != nil {
		t.Error(err)
	}
	if all := committedOn(t, addr, out); len(all) != len(ours.run) {
		t.Errorf("committed are %v, want what is ours", all)
	}
}
