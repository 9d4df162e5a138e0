package leattest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/leat-go/leat/idempotency"
)

// Of 16 that begin one key at once, one gets it and the others hear that it is running, then that it is
// done.
func testIdempotencyOneOfMany(t *testing.T, s *idempotencyStore) {
	const callers, keys = 16, 50
	for k := range keys {
		key := "k" + strconv.Itoa(k)
		var wg sync.WaitGroup
		var got [callers]idempotency.Claim
		var errs [callers]error
		for i := range callers {
			wg.Go(func() { got[i], errs[i] = s.ask(key, sumA()) })
		}
		wg.Wait()
		var owner *idempotency.Claim
		for i := range callers {
			switch {
			case errs[i] == nil && !got[i].Done && owner == nil:
				owner = &got[i]
			case errs[i] == nil:
				t.Fatalf("key %s: a second claim, or done, before any Commit: %+v", key, got[i])
			case !errors.Is(errs[i], idempotency.ErrRunning):
				t.Fatalf("key %s: error %v; want %q", key, errs[i], idempotency.ErrRunning)
			}
		}
		if owner == nil {
			t.Fatalf("key %s: nobody got it", key)
		}
		s.committed(*owner, "")
		s.done(key)
	}
}

// Many workers begin, let go, commit and read few keys: two never hold one at a time, tokens grow from
// holder to holder, and after the first Commit of a key nobody holds it.
func testIdempotencyExclusion(t *testing.T, s *idempotencyStore) {
	const workers, rounds, keys = 16, 100, 5
	type key struct {
		holders  atomic.Int32
		token    atomic.Uint64
		done     atomic.Bool
		attempts atomic.Int32
	}
	var all [keys]key
	var seed uint64
	for seed = range Seeds(t, 1) {
		t.Log(Replay(t, seed))
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(w))) //nolint:gosec // A test's choices.
			for range rounds {
				i := rnd.IntN(keys)
				k := &all[i]
				before := k.done.Load()
				c, err := s.ask("k"+strconv.Itoa(i), sumA())
				switch {
				case errors.Is(err, idempotency.ErrRunning):
					if before {
						t.Errorf("key %d: running after it was done", i)
					}
					continue
				case err != nil:
					t.Errorf("key %d: %v", i, err)
					return
				case c.Done:
					continue
				}
				if before {
					t.Errorf("key %d: claimed after it was done", i)
				}
				if n := k.holders.Add(1); n != 1 {
					t.Errorf("key %d: %d holders at once", i, n)
				}
				if last := k.token.Swap(c.Token); last >= c.Token {
					t.Errorf("key %d: token %d after %d", i, c.Token, last)
				}
				finish := k.attempts.Add(1) > 20
				k.holders.Add(-1)
				if finish {
					err = s.commit(c, "")
					k.done.Store(err == nil)
				} else {
					err = s.Abort(t.Context(), c)
				}
				if err != nil {
					t.Errorf("key %d: the owner was refused: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
}

// F2: a worker may die before or after any call. Its key comes out all the same, with an effect for
// each time a worker died between effect and mark and one more, and such a run is flagged.
func testIdempotencyCrashes(t *testing.T, s *idempotencyStore) {
	for seed := range Seeds(t, 1) {
		t.Log(Replay(t, seed))
		idempotencyCrashes(t, s, seed)
	}
}

func idempotencyCrashes(t *testing.T, s *idempotencyStore, seed uint64) {
	t.Helper()
	const keys = 1000
	rnd := rand.New(rand.NewPCG(seed, 2))
	type ledger struct {
		effects, crashes int
		left, finished   bool
	}
	all := make([]ledger, keys)
	open := keys
	for round := 0; open > 0; round++ {
		if round > 100 {
			t.Fatalf("seed %d: %d keys are not done after %d leases", seed, open, round)
		}
		for i := range all {
			l := &all[i]
			if l.finished {
				continue
			}
			key := fmt.Sprintf("%d/k%d", seed, i) // one store sees every seed
			die := rnd.IntN(8)                    // at one of the points below, or not at all
			if die == 0 {
				continue // before Begin
			}
			c, err := s.ask(key, sumA())
			if errors.Is(err, idempotency.ErrRunning) && l.left {
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: Begin(%s): %v", seed, key, err)
			}
			if c.Done {
				if l.effects == 0 {
					t.Fatalf("seed %d: %s is done without an effect: it is lost", seed, key)
				}
				l.finished = true
				open--
				continue
			}
			if c.Again != l.left {
				t.Fatalf("seed %d: %s: Again is %v, an owner died before: %v", seed, key, c.Again, l.left)
			}
			l.left = true
			if die == 1 {
				continue // after Begin
			}
			if die == 2 { // the handler fails
				if err := s.Abort(context.WithoutCancel(t.Context()), c); err != nil {
					t.Fatalf("seed %d: Abort(%s): %v", seed, key, err)
				}
				l.left = false
				continue
			}
			l.effects++
			if die == 3 {
				l.crashes++
				continue // after the effect, before Commit
			}
			s.committed(c, "")
			l.left = false
			// die == 4 is after Commit and before the acknowledge: the message comes again, as it does
			// for all others here, and is done.
		}
		s.expire()
	}
	repeats := 0
	for i := range all {
		l := &all[i]
		if l.effects < 1 || l.effects > 1+l.crashes {
			t.Fatalf("seed %d: k%d had %d effects with %d crashes after one", seed, i, l.effects, l.crashes)
		}
		repeats += l.effects - 1
	}
	if repeats == 0 {
		t.Fatalf("seed %d: no effect was repeated by any crash: the test does not crash where it says", seed)
	}
}
