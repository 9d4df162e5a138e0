package faults_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F5: members join and leave all the time. No partition rests for longer than 5 s, what is in flight is
// finished before a partition goes to another member, and so nothing has its effect twice.
func TestF5(t *testing.T) {
	rng, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	changes, over := of(8, 50), of(10*time.Second, time.Minute)
	const partitions, keys = 12, 240
	p := newPlace(t, addr, partitions, seed)
	w := &watch{place: p, last: map[int32]time.Time{}}
	members := []*joined{w.join(t)}
	ctx, halt := context.WithCancel(t.Context())
	published, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			p.insist(t, parcels(published, keys, keys))
			published += keys
			<-pace.C
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
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d joins and leaves; no partition rested for longer than %v. %s", published, changes, w.rest().Round(time.Millisecond), leattest.Replay(t, seed))
}

// A watch sees what members do.
type watch struct {
	*place
	mu      sync.Mutex
	effects int
	last    map[int32]time.Time // by partition
	worst   time.Duration
}

// partitioned is what the adapter's claims tell besides.
type partitioned interface{ Partition() int32 }

func (w *watch) effect(c adapters.Claim, run []*adapters.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, now := c.(partitioned).Partition(), time.Now()
	if last, ok := w.last[n]; ok {
		w.worst = max(w.worst, now.Sub(last))
	}
	w.last[n] = now
	w.effects += len(run)
	for i := range run {
		w.ledger.Effect(run[i].ID)
	}
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
		Cluster: kafka.Cluster{Brokers: []string{w.Addr}, ClientID: "member-" + strconv.Itoa(w.count())}, Group: w.Group, Window: 200,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	m := &joined{stop, sub, make(chan error, 1)}
	go func() {
		m.done <- sub.Claim(ctx, []string{w.In}, func(c adapters.Claim) {
			for {
				run, err := c.Next(make([]*adapters.Record, 0, 20))
				if len(run) > 0 && c.Context().Err() == nil {
					w.effect(c, run)
					c.Finish(run)
				}
				if err != nil {
					return
				}
			}
		})
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
