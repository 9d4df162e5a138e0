package idempotency_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// F2: two instances on one store, and 1,000 messages; an instance may be killed before or after any
// call to the store, around the effect, and before or after the publish. A killed instance does nothing
// more: whatever it still tries fails. Nothing is lost, an effect is repeated at most once for a kill
// between effect and mark, such a run is flagged, and nothing is acknowledged that is not published.
func TestReceiverCrashes(t *testing.T) {
	const messages = 1000
	kills, repeats := 0, 0
	seeds(t, 5, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) {
			mem := &idempotency.Memory{}
			all := make([]fate, messages)
			open := messages
			for round := 0; open > 0; round++ {
				if round > 50 {
					t.Fatalf("%d messages are not acknowledged after %d leases", open, round)
				}
				for i := range all {
					if !all[i].acked {
						k := killAt(t, mem, &all[i], strconv.Itoa(i), rnd.IntN(40))
						kills += k
						if all[i].acked {
							open--
						}
					}
				}
				time.Sleep(lease + 1)
			}
			for i, s := range all {
				if s.effects < 1 || s.published < 1 {
					t.Fatalf("message %d is acknowledged with %d effects and %d publishes", i, s.effects, s.published)
				}
				if s.effects > 1+s.between {
					t.Fatalf("message %d had %d effects with %d kills between effect and mark", i, s.effects, s.between)
				}
				repeats += s.effects - 1
			}
		})
	})
	if kills < 1000 || repeats == 0 {
		t.Fatalf("%d kills and %d repeated effects: the test does not kill where it says", kills, repeats)
	}
}

// A fate is what a message has come to.
type fate struct {
	effects, between, published int
	left, acked                 bool
}

// killAt has an instance work on a message until it is acknowledged or killed at its n-th step.
func killAt(t *testing.T, mem *idempotency.Memory, s *fate, id string, n int) (kills int) {
	t.Helper()
	errKilled := errors.New("killed")
	steps := 0
	step := func() error { // every effect asks before it happens, and again before its answer counts
		steps++
		if steps > n && n < 20 {
			return errKilled
		}
		return nil
	}
	store := &remote{Store: mem, fail: func(string, bool) error { return step() }}
	r := idempotency.Receiver{Store: store, Lease: lease}
	e := arrive(id, "p")
	before := s.effects
	o, err := process(r, e, func() (channel.Result, error) {
		c, _ := idempotency.ClaimOf(e.Context())
		if c.Again != s.left && !s.left {
			t.Fatalf("message %s: flagged, but nobody died", id)
		}
		if s.effects > 0 && !c.Again {
			t.Fatalf("message %s: its effect is repeated, and the run is not flagged", id)
		}
		if err := step(); err != nil {
			return channel.Result{}, err
		}
		s.effects++
		return channel.Done(), step()
	}, func() error {
		if err := step(); err != nil {
			return err
		}
		s.published++
		return step()
	})
	switch {
	case err == nil:
		if o != channel.Finished && o != channel.Dropped {
			t.Fatalf("message %s is %v", id, o)
		}
		s.acked = true
		return 0
	case errors.Is(err, idempotency.ErrRunning) && s.left:
		return 0
	case errors.Is(err, errKilled):
		s.left = true
		if s.effects > before {
			s.between++
		}
		return 1
	}
	t.Fatalf("message %s: %v", id, err)
	return 0
}

// What was done is marked as done although the message was given back meanwhile.
func TestReceiverSettleOutlivesTheMessage(t *testing.T) {
	r := idempotency.Receiver{Store: &remote{Store: &idempotency.Memory{}}}
	e := arrive("1", "p")
	ctx, cancel := context.WithCancel(context.Background())
	e.SetContext(ctx)
	_, err := process(r, e, func() (channel.Result, error) {
		cancel()
		return channel.Done(), nil
	}, nil)
	if err != nil {
		t.Fatalf("error %v; want the mark to be written although the message's context ended", err)
	}
	if o, err := process(r, arrive("1", "p"), done, nil); err != nil || o != channel.Dropped {
		t.Fatalf("%v, error %v; want the duplicate dropped", o, err)
	}
}
