package kafka

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
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

// A partition is paused because the queue is full, and while that is done the queue is emptied; what was to be added has been
// read already. Breaks if only giving out records ends a pause: there are none, and none ever comes.
func TestEmptiedWhileItIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conf := SubscriberConfig{Window: 4}.withDefaults()
		fetched := &switched{}
		c := newClaim(t.Context(), &conf, nobody{}, fetched, "topic", 0, 0)
		ms := []*sarama.ConsumerMessage{{Offset: 0}, {Offset: 1}, {Offset: 2}}
		c.enqueue(ms)
		fetched.whilePausing = func() {
			if rs, err := c.Next(make([]*adapters.Record, 0, 4)); err != nil || len(rs) != 3 {
				t.Errorf("a claim of 3 records gives %d: %v", len(rs), err)
			}
		}
		c.enqueue(ms[2:])
		if !slices.Equal(fetched.calls, []string{"pause", "resume"}) || c.paused {
			t.Errorf("the client was asked to %q, want a pause that ends", fetched.calls)
		}
	})
}

// switched is a source that notes how it is paused and resumed.
type switched struct {
	calls        []string
	whilePausing func()
}

func (*switched) Messages() <-chan *sarama.ConsumerMessage { return nil }
func (*switched) HighWaterMarkOffset() int64               { return 0 }
func (s *switched) resume()                                { s.calls = append(s.calls, "resume") }
func (s *switched) pause() {
	s.calls = append(s.calls, "pause")
	s.whilePausing()
}
