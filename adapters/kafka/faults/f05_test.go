package faults_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F5: members join and leave all the time. No partition rests for longer than 5 s, what is in flight is
// finished before a partition goes to another member, and so nothing has its effect twice. Breaks if a partition goes while
// its owner works on something of it, or if what it has finished then is not committed.
func TestF5(t *testing.T) {
	rng, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	changes, over := of(8, 50), of(10*time.Second, time.Minute)
	const partitions, keys, rate = 12, 240, 2400 // messages a second
	p := newPlace(t, addr, partitions, seed)
	w := &watch{place: p, last: map[int32]time.Time{}}
	members := []*joined{w.join(t)}
	ctx, halt := context.WithCancel(t.Context())
	published, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		begun := time.Now()
		pace := time.NewTicker(20 * time.Millisecond) // the longest that work takes: something is in flight at any time
		defer pace.Stop()
		for ctx.Err() == nil {
			<-pace.C
			due := int(time.Since(begun).Seconds()*rate) - published
			p.insist(t, parcels(published, due, keys))
			published += due
		}
	}()
	until(t, 20*time.Second, "the first member works", func() bool { return w.count() > 0 })
	pace := time.NewTicker(over / time.Duration(changes))
	defer pace.Stop()
	for range changes {
		<-pace.C
		if len(members) > 1 && rng.IntN(2) == 0 {
			i := rng.IntN(len(members))
			members[i].leave(t)
			members = append(members[:i], members[i+1:]...)
		} else {
			members = append(members, w.join(t))
		}
	}
	halt()
	<-done
	until(t, 30*time.Second, "everything has its effect", func() bool { return w.count() >= published })
	for _, m := range members {
		m.leave(t)
	}
	if worst := w.rest(); worst > 5*time.Second {
		t.Errorf("a partition rested for %v", worst)
	}
	if w.inFlight == 0 || w.fenced >= w.inFlight {
		t.Errorf("%d messages were in flight when their partitions were to go, and %d of them were given up", w.inFlight, w.fenced)
	}
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d joins and leaves with %d in flight; no partition rested for longer than %v. %s",
		published, changes, w.inFlight, w.rest().Round(time.Millisecond), leattest.Replay(t, seed))
}

// window is that of a member.
const window = 200

// A watch sees what members do.
type watch struct {
	*place
	mu       sync.Mutex
	effects  int
	last     map[int32]time.Time // by partition
	worst    time.Duration
	inFlight int // when a partition was to go
	fenced   int // of them: it was lost before they were done
}

// partitioned is what the adapter's claims tell besides.
type partitioned interface{ Partition() int32 }

// own works on a partition, on its keys side by side, and returns when nothing of it is in flight any more.
func (w *watch) own(c adapters.Claim) {
	lanes := map[string]chan *adapters.Record{}
	var all sync.WaitGroup
	var under atomic.Int64
	lane := func(rs <-chan *adapters.Record) {
		for r := range rs {
			<-time.NewTimer(takes(w.Seed, r.ID)).C
			w.effect(c, r)
			c.Finish([]*adapters.Record{r})
			under.Add(-1)
		}
	}
	for {
		run, err := c.Next(make([]*adapters.Record, 0, 20))
		for _, r := range run {
			rs := lanes[r.Key]
			if rs == nil {
				rs = make(chan *adapters.Record, window)
				lanes[r.Key] = rs
				all.Go(func() { lane(rs) })
			}
			under.Add(1)
			rs <- r
		}
		if err != nil {
			break
		}
	}
	w.goes(int(under.Load()))
	for _, rs := range lanes {
		close(rs)
	}
	all.Wait()
}

// goes notes what is in flight of a partition that is to go.
func (w *watch) goes(inFlight int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inFlight += inFlight
}

// effect is that of a message, unless its partition is lost: then it is left to the next owner.
func (w *watch) effect(c adapters.Claim, r *adapters.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Context().Err() != nil {
		w.fenced++
		return
	}
	n, now := c.(partitioned).Partition(), time.Now()
	if last, ok := w.last[n]; ok {
		w.worst = max(w.worst, now.Sub(last))
	}
	w.last[n] = now
	w.effects++
	w.ledger.Effect(r.ID)
}

func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.effects
}

func (w *watch) rest() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.worst
}

// A joined is a member.
type joined struct {
	stop func()
	sub  *kafka.Subscriber
	done chan error
}

func (w *watch) join(t *testing.T) *joined {
	t.Helper()
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Cluster: kafka.Cluster{Brokers: []string{w.Addr}, ClientID: "member-" + strconv.Itoa(w.count())}, Group: w.Group, Window: window,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	m := &joined{stop, sub, make(chan error, 1)}
	go func() {
		m.done <- sub.Claim(ctx, []string{w.In}, w.own)
	}()
	return m
}

func (m *joined) leave(t *testing.T) {
	t.Helper()
	m.stop()
	if err := <-m.done; err != nil {
		t.Error(err)
	}
	if err := m.sub.Close(); err != nil {
		t.Error(err)
	}
}
