package faults_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F26: the receiver's store is down for a while, several times. Meanwhile nothing passes it and nothing
// dies of it; then all goes on. An effect is repeated only if its mark could not be written.
func TestF26(t *testing.T) { seeds(t, func(w *world) { f26(w, false) }) }

func TestF26CanFail(t *testing.T) {
	t.Run("a store that lets pass what it cannot tell", func(t *testing.T) {
		canFail(t, open, func(w *world) { f26(w, true) })
	})
}

// openStore fails open.
type openStore struct{ idempotency.Store }

func (s openStore) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	c, err := s.Store.Begin(ctx, r)
	if err != nil {
		return idempotency.Claim{Scope: r.Scope, Key: r.Key}, nil //nolint:nilerr // On purpose.
	}
	return c, nil
}

func f26(w *world, failOpen bool) {
	var store outages
	var started, busy atomic.Int64
	store.plan(w, 2, 12*time.Second) // longer than a lease
	attempts := 1 + w.rnd.IntN(3)
	serve := func(m channel.Message[item]) error {
		id := m.Body.ID
		started.Add(1)
		busy.Add(1)
		defer busy.Add(-1)
		if store.down() {
			w.ledger.wrong(open, "%s", id)
		}
		if m.Body.Fault == "poison" {
			return channel.Permanent(errFlaky)
		}
		if m.Attempt() < attempts && w.dice.roll(8, "serve", id) == 0 {
			return errFlaky
		}
		longest := 20 * time.Millisecond
		if w.dice.roll(20, "long", id) == 0 {
			longest = 20 * time.Second
		}
		work := time.NewTimer(time.Duration(w.dice.roll(int(longest), "how long", id)))
		defer work.Stop()
		select {
		case <-work.C:
		case <-m.Context().Done():
			w.ledger.count("claims lost while working")
			return m.Context().Err() // as a database or a client does
		}
		w.ledger.effect(id)
		return nil
	}
	seen := &idempotency.Memory{}
	for range 1 + w.rnd.IntN(2) {
		p := w.process(func(call, id string) fault {
			if call == "publish dead" || !store.down() {
				return none
			}
			if call == "commit" {
				w.ledger.repeats(id)
			}
			return before
		})
		var s idempotency.Store = seenStore{seen, p}
		if failOpen {
			s = openStore{s}
		}
		p.run("shop",
			flow.Step("do", incoming, endpoint.DoMessage(serve), flow.Around(idempotency.Receiver{Store: s})),
			flow.Workers(4+w.rnd.IntN(8)),
			flow.Policy{Attempts: attempts, Backoff: flow.Fixed(50 * time.Millisecond), DeadLetter: dead},
		)
	}
	n := 0
	store.through(w, 500*time.Millisecond, func() {
		n++
		x := item{ID: fmt.Sprint("m", n)}
		if n%20 == 0 {
			x.Fault = "poison"
			w.ledger.dies(x.ID)
		}
		w.send(string(incoming), w.key(12), x)
	}, func() (int64, bool) {
		return started.Load(), busy.Load() == 0 // else workers may have work that began before the outage
	})
	pass(10 * time.Minute)
}
