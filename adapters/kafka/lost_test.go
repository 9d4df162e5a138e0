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
