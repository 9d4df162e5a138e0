package kafka

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// Where bytes bound the window, a claim gives out few records at once, and allocates no more than those. Breaks if it
// makes room for all that the run has.
func TestTakeAllocatesWhatItGives(t *testing.T) {
	const waiting = 256
	size := sizeOf(&sarama.ConsumerMessage{Value: make([]byte, 1000)})
	for fit, bytes := range map[int]int{1: 1, 3: 2*size + 1, waiting: waiting * size} {
		c := newClaim(t.Context(), &SubscriberConfig{Window: 2 * waiting, WindowBytes: bytes}, nil, nil, "topic", 0, 0)
		for i := range waiting {
			c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: int64(i), Value: make([]byte, 1000)})
		}
		ds, _ := c.take(waiting)
		if len(ds) != fit || cap(ds) != fit {
			t.Errorf("a window of %d bytes gives %d of %d records of %d, and makes room for %d; want %d", bytes, len(ds), waiting, size, cap(ds), fit)
		}
		if ds, _ := c.take(waiting); len(ds) != 0 {
			t.Errorf("a full window gives %d records more", len(ds))
		}
	}
}

// A claim is told about records that it never had, or has no longer: nothing of its own is finished, or comes again, for that.
// Breaks if a record's number counts with another claim.
func TestClaimHeedsOnlyItsOwn(t *testing.T) {
	conf := SubscriberConfig{}.withDefaults()
	claimOf := func(topic string) (*claim, []*adapters.Record) {
		c := newClaim(t.Context(), &conf, nobody{}, nil, topic, 0, 0)
		for i := range 3 {
			c.queue = append(c.queue, &sarama.ConsumerMessage{Topic: topic, Offset: int64(i)})
		}
		rs, err := c.Next(make([]*adapters.Record, 0, 3))
		if err != nil || len(rs) != 3 {
			t.Fatalf("a claim of 3 records gives %d: %v", len(rs), err)
		}
		return c, rs
	}
	mine, own := claimOf("mine")
	_, others := claimOf("other")
	mine.Finish(append(others, &adapters.Record{}))
	mine.Return(others)
	mine.Finish(own[:1])
	mine.Finish(own[:1])
	mine.Return(own[:1])
	if p := mine.progress; p.base != 1 || len(mine.back) != 0 || mine.flying != 2*recordOverhead {
		t.Errorf("%d of 3 records are finished, %d come again and %d bytes are in flight; want 1, 0 and %d",
			p.base, len(mine.back), mine.flying, 2*recordOverhead)
	}
}

// What was read while the client could not is not taken again when the client brings it: a record comes once, in order.
// Breaks if what is queued goes back to offsets that were.
func TestBroughtTwice(t *testing.T) {
	conf := SubscriberConfig{}.withDefaults()
	c := newClaim(t.Context(), &conf, nobody{}, nil, "topic", 0, 0)
	bring := func(from, to int64) {
		var ms []*sarama.ConsumerMessage
		for at := from; at < to; at++ {
			ms = append(ms, &sarama.ConsumerMessage{Offset: at})
		}
		c.enqueue(ms)
	}
	bring(0, 4)
	bring(2, 4)
	bring(2, 7)
	var got []int64
	for _, m := range c.queue {
		got = append(got, m.Offset)
	}
	if want := []int64{0, 1, 2, 3, 4, 5, 6}; !slices.Equal(got, want) || c.position != 7 || c.waiting != 7*recordOverhead {
		t.Errorf("queued are %v, %d bytes, up to %d; want %v, %d, 7", got, c.waiting, c.position, want, 7*recordOverhead)
	}
}

// What comes back and is finished after that, by who was late, does not come again. Breaks if only Finish looks.
func TestFinishedAfterItCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := SubscriberConfig{}.withDefaults()
		c := newClaim(t.Context(), &conf, nobody{}, nil, "topic", 0, 0)
		for at := range int64(4) {
			c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: at})
		}
		next := func() (at []int64, rs []*adapters.Record) {
			rs, err := c.Next(make([]*adapters.Record, 0, 3))
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				at = append(at, r.Native.(*delivery).msg.Offset)
			}
			return at, rs
		}
		_, rs := next()
		c.Return(rs)
		c.Finish(rs[1:2])
		if at, _ := next(); !slices.Equal(at, []int64{0, 2}) {
			t.Errorf("0 and 2 of three come again, and here %v", at)
		}
		if at, _ := next(); !slices.Equal(at, []int64{3}) {
			t.Errorf("then comes %v, want 3", at)
		}
	})
}

// A full queue pauses the partition until half of it has gone out, and what is held for another reason stays so. Breaks if the
// client goes on while more waits than may, or never does again.
func TestPausedForWantOfRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := SubscriberConfig{Window: 8}.withDefaults()
		client := &switched{}
		c := newClaim(t.Context(), &conf, nobody{}, client, "topic", 0, 0)
		bring := func(from, to int64) {
			var ms []*sarama.ConsumerMessage
			for at := from; at < to; at++ {
				ms = append(ms, &sarama.ConsumerMessage{Offset: at})
			}
			c.enqueue(ms)
		}
		is := func(want ...string) {
			t.Helper()
			if !slices.Equal(client.calls, want) {
				t.Fatalf("the client was asked to %q, want %q", client.calls, want)
			}
		}
		take := func(n int) {
			t.Helper()
			rs, err := c.Next(make([]*adapters.Record, 0, n))
			if err != nil {
				t.Fatal(err)
			}
			c.Finish(rs)
			to, _ := c.uncommitted()
			c.commit(to)
		}
		bring(0, 4) // there was room
		is()
		begun := time.Now()
		bring(4, 5) // there is none
		if is("pause"); time.Since(begun) != holdUp {
			t.Errorf("it was paused after %v, want %v", time.Since(begun), holdUp)
		}
		bring(5, 6) // which was on its way
		take(3)
		is("pause")
		take(1)
		is("pause", "resume")
		bring(6, 8)
		bring(8, 9)
		is("pause", "resume", "pause")
		c.hold()
		take(8)
		is("pause", "resume", "pause", "pause")
		c.release()
		is("pause", "resume", "pause", "pause", "resume")
		bring(9, 14)
		go func() {
			<-time.After(holdUp / 2)
			take(8)
		}()
		bring(14, 15) // there is some in time
		is("pause", "resume", "pause", "pause", "resume")
	})
}

// switched is a source that notes how it is paused and resumed.
type switched struct{ calls []string }

func (*switched) Messages() <-chan *sarama.ConsumerMessage { return nil }
func (*switched) HighWaterMarkOffset() int64               { return 0 }
func (s *switched) pause()                                 { s.calls = append(s.calls, "pause") }
func (s *switched) resume()                                { s.calls = append(s.calls, "resume") }

// What was shown, came back and was then returned as shown to nobody may have had its effect. Breaks if the next owner is told
// that nobody has seen it.
func TestShownOnceIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := SubscriberConfig{}.withDefaults()
		c := newClaim(t.Context(), &conf, nobody{}, nil, "topic", 0, 0)
		c.stage = owned
		c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: 0}, &sarama.ConsumerMessage{Offset: 1})
		next := func(n int) []*adapters.Record {
			rs, err := c.Next(make([]*adapters.Record, 0, n))
			if err != nil || len(rs) != n {
				t.Fatalf("a claim of 2 records gives %d: %v", len(rs), err)
			}
			return rs
		}
		c.Return(next(1))
		shown := next(1)
		other := next(1)
		c.stop(channel.ErrStopped)
		c.Return(adapters.Unseen(append(shown, other...)))
		c.settleUp()
		if to, _ := c.uncommitted(); to.note != "leat-out:1" {
			t.Errorf("it leaves %q, want that one may have been seen", to.note)
		}
		c.cancel(nil)
	})
}

// A member that has ended, and whose last partition goes to another member, ends its session. Breaks if it waits for the group
// to do that: Close hangs.
func TestLastClaimEndsTheSession(t *testing.T) {
	conf := SubscriberConfig{Cluster: Cluster{Brokers: []string{"b:1"}}, Group: "g"}.withDefaults()
	var ends error
	m := &member{
		conf: &conf, log: conf.Cluster.Logger, tally: newTally(&conf), health: newHealth(conf.Cluster.Logger, &conf.Cluster),
		claims: map[*claim]struct{}{}, end: func(cause error) { ends = cause }, why: errRevoked,
	}
	for range 2 {
		m.claims[newClaim(t.Context(), &conf, m, nil, "topic", 0, 0)] = struct{}{}
	}
	for c := range m.claims {
		if ends != nil {
			t.Error("the session ends before the last claim")
		}
		m.tally.claimed(c)
		m.leave(c)
	}
	if isLoss(ends) || !errors.Is(ends, errRevoked) {
		t.Errorf("the session ends because %v", ends)
	}
}

// What a transaction has committed is never to be committed again by itself. Breaks if it is finished and noted as committed
// in two steps, and the commit interval ends in between.
func TestCommittedInATransactionIsCommitted(t *testing.T) {
	conf := SubscriberConfig{Window: 1 << 20}.withDefaults()
	c := newClaim(t.Context(), &conf, nobody{}, nil, "topic", 0, 0)
	c.stage = owned
	const all = 50_000
	for i := range all {
		c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: int64(i)})
	}
	rs, err := c.Next(make([]*adapters.Record, 0, all))
	if err != nil || len(rs) != all {
		t.Fatalf("a claim of %d records gives %d: %v", all, len(rs), err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range rs {
			c.finishCommitted(rs[i:i+1], c.markOf(rs[i:i+1]))
		}
	}()
	for {
		if to, more := c.uncommitted(); more {
			t.Errorf("offset %d is to be committed, which a transaction has", to.offset)
			break
		}
		select {
		case <-done:
			return
		default:
		}
	}
	<-done
}
