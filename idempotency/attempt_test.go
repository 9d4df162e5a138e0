package idempotency_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

const lease = 10 * time.Second

// F6: a handler of ten leases runs once. Another instance asks for its message all the while.
func TestHeartbeatKeepsALongHandler(t *testing.T) {
	for _, x := range []struct {
		name  string
		store func() idempotency.Store
	}{
		{"elsewhere", func() idempotency.Store { return &remote{Store: &idempotency.Memory{}} }},
		{"in memory", func() idempotency.Store { return &idempotency.Memory{} }},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := x.store()
				r := idempotency.Receiver{Store: store, Lease: lease}
				finished := make(chan error)
				go func() {
					_, err := process(r, arrive("1", "p"), func() (channel.Result, error) {
						time.Sleep(10 * lease)
						return channel.Done(), nil
					}, nil)
					finished <- err
				}()
				for range 99 {
					time.Sleep(lease / 10)
					if _, _, err := r.Enter(arrive("1", "p")); !errors.Is(err, idempotency.ErrRunning) {
						t.Fatalf("error %v; want ErrRunning", err)
					}
				}
				if err := <-finished; err != nil {
					t.Fatal(err)
				}
				if o, err := process(r, arrive("1", "p"), done, nil); err != nil || o != channel.Dropped {
					t.Fatalf("%v, error %v; want the duplicate dropped", o, err)
				}
				if s, ok := store.(*remote); ok {
					n := s.renews.Load()
					if n < 29 || n > 30 {
						t.Fatalf("%d renewals in ten leases; want one every third of a lease", n)
					}
					time.Sleep(10 * lease)
					if s.renews.Load() != n {
						t.Fatal("it is renewed after the settle")
					}
				}
			})
		})
	}
}

// A short handler is never renewed, and costs no goroutine.
func TestHeartbeatSparesShortHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &remote{Store: &idempotency.Memory{}}
		r := idempotency.Receiver{Store: store, Lease: lease}
		for _, id := range []string{"1", "2", "3"} {
			if _, err := process(r, arrive(id, "p"), func() (channel.Result, error) {
				time.Sleep(lease / 4)
				return channel.Done(), nil
			}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(lease)
		if n := store.renews.Load(); n != 0 {
			t.Fatalf("%d renewals", n)
		}
	})
}

// A process that dies in the middle leaves its claim; one lease after its last renewal another takes
// the message over, and what is left of the dead one is refused.
func TestHeartbeatEndsWithItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := &idempotency.Memory{}
		dying, other := &remote{Store: mem}, &remote{Store: mem}
		_, exit, err := idempotency.Receiver{Store: dying, Lease: lease}.Enter(arrive("1", "p"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * lease)
		dying.down.Store(true)
		died := time.Now()

		r := idempotency.Receiver{Store: other, Lease: lease, Fence: true}
		var claim idempotency.Claim
		for {
			e := arrive("1", "p")
			_, err := process(r, e, func() (channel.Result, error) {
				claim, _ = idempotency.ClaimOf(e.Context())
				return channel.Done(), nil
			}, nil)
			if err == nil {
				break
			}
			after, later := channel.IsLater(err)
			if !errors.Is(err, idempotency.ErrRunning) || !later {
				t.Fatal(err)
			}
			time.Sleep(after)
		}
		if took := time.Since(died); took > 12*time.Second {
			t.Fatalf("taken over after %v; want within 12 s", took)
		}
		if !claim.Again {
			t.Fatal("the second run is not flagged")
		}

		// It was not dead after all, only cut off.
		dying.down.Store(false)
		res, err := exit(channel.Done(), nil)
		if err != nil {
			t.Fatal(err)
		}
		err = res.Settler()(context.Background(), nil)
		if _, later := channel.IsLater(err); !errors.Is(err, idempotency.ErrLost) || !later {
			t.Fatalf("error %v; want ErrLost, Later", err)
		}
	})
}

// A message whose claim is lost hears of it: its context ends with the cause.
func TestLostClaimEndsTheContext(t *testing.T) {
	for _, x := range []struct {
		name string
		lose func(s *remote)
		in   time.Duration // at the latest
	}{
		{"store does not answer", func(s *remote) { s.down.Store(true) }, lease + lease/3},
		{"store has forgotten it", func(s *remote) { s.empty.Store(true) }, lease / 3},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &remote{Store: &idempotency.Memory{}}
				e := arrive("1", "p")
				own := e.Context()
				_, exit, err := idempotency.Receiver{Store: store, Lease: lease}.Enter(e)
				if err != nil {
					t.Fatal(err)
				}
				x.lose(store)
				start := time.Now()
				<-e.Context().Done()
				if took := time.Since(start); took > x.in {
					t.Fatalf("it ended after %v; want within %v", took, x.in)
				}
				if cause := context.Cause(e.Context()); !errors.Is(cause, idempotency.ErrLost) {
					t.Fatalf("cause %v; want ErrLost", cause)
				}
				// What most code makes of it is not an attempt of the message's.
				_, err = exit(channel.Result{}, e.Context().Err())
				if _, later := channel.IsLater(err); !errors.Is(err, idempotency.ErrLost) || !later {
					t.Fatalf("error %v; want ErrLost, Later", err)
				}
				if e.Context() != own {
					t.Fatal("the envelope keeps the context that ended")
				}
			})
		})
	}
}

// A store that hangs holds a message up, but not for ever, and no call is left behind.
func TestHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{Store: &idempotency.Memory{}}
		e := arrive("1", "p")
		_, exit, err := idempotency.Receiver{Store: store, Lease: lease}.Enter(e)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(lease / 2) // a Renew is under way
		start := time.Now()
		if _, err := exit(channel.Result{}, errHandler); !errors.Is(err, errHandler) {
			t.Fatalf("error %v; want the handler's", err)
		}
		if took := time.Since(start); took > lease {
			t.Fatalf("the exit took %v; want a lease at most", took)
		}
		synctest.Wait()
		if n := store.calls.Load(); n != 0 {
			t.Fatalf("%d calls are still under way", n)
		}
	})
}

// A store that panics while it renews has given an error: it is asked again, and the message goes on. Breaks if the process ends.
func TestRenewPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, calls := &remote{Store: &idempotency.Memory{}}, 0
		store.fail = func(call string, _ bool) error {
			if call == "renew" {
				if calls++; calls == 1 {
					panic("a bomb in the store")
				}
			}
			return nil
		}
		e := arrive("1", "p")
		_, exit, err := idempotency.Receiver{Store: store, Lease: lease}.Enter(e)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * lease)
		if err := e.Context().Err(); err != nil {
			t.Errorf("the claim is lost: %v", context.Cause(e.Context()))
		}
		if _, err := exit(channel.Result{}, errHandler); !errors.Is(err, errHandler) || calls < 2 {
			t.Errorf("it ends with %v, after %d calls", err, calls)
		}
	})
}

type hanging struct {
	idempotency.Store

	calls atomic.Int32
}

func (s *hanging) wait(ctx context.Context) error {
	s.calls.Add(1)
	<-ctx.Done()
	s.calls.Add(-1)
	return ctx.Err()
}

func (s *hanging) Renew(ctx context.Context, _ idempotency.Claim, _ time.Duration) error {
	return s.wait(ctx)
}

func (s *hanging) Abort(ctx context.Context, _ idempotency.Claim) error { return s.wait(ctx) }

// The fencing token is there for the handler, and grows.
func TestFence(t *testing.T) {
	mem := &idempotency.Memory{}
	r := idempotency.Receiver{Store: mem, Fence: true}
	var last uint64
	for range 3 {
		e := arrive("1", "p")
		_, err := process(r, e, func() (channel.Result, error) {
			c, ok := idempotency.ClaimOf(e.Context())
			if !ok || c.Key != "1" || c.Scope != "shop/charge" || c.Token <= last {
				t.Fatalf("claim %+v, %v after token %d", c, ok, last)
			}
			last = c.Token
			return channel.Result{}, errHandler
		}, nil)
		if !errors.Is(err, errHandler) {
			t.Fatal(err)
		}
	}
	e := arrive("1", "p")
	if _, _, err := (idempotency.Receiver{Store: mem}).Enter(e); err != nil {
		t.Fatal(err)
	}
	if _, ok := idempotency.ClaimOf(e.Context()); ok {
		t.Fatal("a claim without Fence: it costs what nobody asked for")
	}
}
