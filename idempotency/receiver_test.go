package idempotency_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

var errHandler = errors.New("handler is ill")

// After the first attempt at a message, what becomes of its duplicate?
func TestReceiverDuplicate(t *testing.T) {
	errPublish := errors.New("broker is down")
	for _, x := range []struct {
		name    string
		block   func() (channel.Result, error)
		publish error
		runs    bool // the duplicate runs too
	}{
		{"done", done, nil, false},
		{"sent", func() (channel.Result, error) {
			return channel.Send(channel.To(channel.Topic[int]("out"), 1)), nil
		}, nil, false},
		{"held", func() (channel.Result, error) { return channel.Hold(), nil }, nil, false},
		{"dropped by the block", func() (channel.Result, error) { return channel.Drop("filtered"), nil }, nil, false},
		{"failed", func() (channel.Result, error) { return channel.Result{}, errHandler }, nil, true},
		{"failed for good", func() (channel.Result, error) { return channel.Result{}, channel.ErrInvalid }, nil, true},
		{"not published", done, errPublish, true},
		// It can be put back from there.
		{"in the dead letter", func() (channel.Result, error) { return channel.Dead(errHandler), nil }, nil, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			mem := &idempotency.Memory{}
			r := idempotency.Receiver{Store: mem}
			_, err := process(r, arrive("1", "p"), x.block, func() error { return x.publish })
			if x.publish != nil && !errors.Is(err, x.publish) {
				t.Fatalf("error %v; want the publish's", err)
			}
			if st := mem.Stats(); st.Running != 0 {
				t.Fatalf("%d claims are open after the first", st.Running)
			}
			runs := 0
			outcome, err := process(r, arrive("1", "p"), func() (channel.Result, error) { runs++; return channel.Done(), nil }, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := runs == 1; got != x.runs {
				t.Fatalf("the duplicate ran: %v; want %v", got, x.runs)
			}
			want := channel.Dropped
			if x.runs {
				want = channel.Finished
			}
			if outcome != want {
				t.Fatalf("the duplicate is %v; want %v", outcome, want)
			}
		})
	}
}

func TestReceiverDropsUnderItsReason(t *testing.T) {
	r := idempotency.Receiver{Store: &idempotency.Memory{}}
	if _, err := process(r, arrive("1", "p"), done, nil); err != nil {
		t.Fatal(err)
	}
	res, _, err := r.Enter(arrive("1", "p"))
	if err != nil || res.Outcome() != channel.Dropped || res.Reason() != idempotency.Duplicate {
		t.Fatalf("%v %q, error %v; want dropped as a duplicate", res.Outcome(), res.Reason(), err)
	}
}

func TestReceiverWaitsForTheOther(t *testing.T) {
	r := idempotency.Receiver{Store: &idempotency.Memory{}}
	_, exit, err := r.Enter(arrive("1", "p"))
	if err != nil {
		t.Fatal(err)
	}
	_, x, err := r.Enter(arrive("1", "p"))
	after, later := channel.IsLater(err)
	if !errors.Is(err, idempotency.ErrRunning) || !later || after != 100*time.Millisecond || x != nil {
		t.Fatalf("error %v, later %v after %v; want ErrRunning, later, after 100ms", err, later, after)
	}
	res, err := exit(channel.Done(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Not done before the settle: the publish may still fail.
	if _, _, err = r.Enter(arrive("1", "p")); !errors.Is(err, idempotency.ErrRunning) {
		t.Fatalf("error %v before the settle; want ErrRunning", err)
	}
	if err := res.Settler()(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if res, _, err := r.Enter(arrive("1", "p")); err != nil || res.Outcome() != channel.Dropped {
		t.Fatalf("%v, error %v after the settle; want dropped", res.Outcome(), err)
	}
}

func TestReceiverKeepsTheSettleOfTheBlock(t *testing.T) {
	r := idempotency.Receiver{Store: &idempotency.Memory{}}
	var order []string
	block := func() (channel.Result, error) {
		return channel.Done().Settle(func(context.Context, error) error { order = append(order, "block"); return errHandler }), nil
	}
	if _, err := process(r, arrive("1", "p"), block, nil); !errors.Is(err, errHandler) {
		t.Fatalf("error %v; want the block's", err)
	}
	if outcome, err := process(r, arrive("1", "p"), done, nil); err != nil || outcome != channel.Finished || len(order) != 1 {
		t.Fatalf("%v, error %v, settles %v; want the message to run again: its block's settle failed", outcome, err, order)
	}
}

func TestReceiverKey(t *testing.T) {
	mem := &idempotency.Memory{}
	r := idempotency.Receiver{Store: mem, Key: idempotency.ByHeader("delivery")}
	if o, err := process(r, arrive("1", "p", "delivery", "d"), done, nil); err != nil || o != channel.Finished {
		t.Fatal(o, err)
	}
	if o, err := process(r, arrive("2", "p", "delivery", "d"), done, nil); err != nil || o != channel.Dropped {
		t.Fatalf("%v, error %v; want the second message of one delivery dropped", o, err)
	}
	_, err := process(r, arrive("3", "p"), done, nil)
	if !errors.Is(err, idempotency.ErrNoKey) || !channel.IsPermanent(err) || !strings.Contains(err.Error(), "3") {
		t.Fatalf("error %v; want a permanent ErrNoKey that names the message", err)
	}
}

func TestReceiverLetsTicksPass(t *testing.T) {
	var e channel.Envelope
	e.Arrive(&channel.Arrival{Context: context.Background(), Scope: "shop/pack", Key: "group", Tick: true})
	mem := &idempotency.Memory{}
	res, exit, err := idempotency.Receiver{Store: mem}.Enter(&e)
	if err != nil || exit != nil || res.Outcome() != channel.Unsaid || mem.Stats() != (idempotency.Stats{}) {
		t.Fatalf("%v, exit %v, error %v: want the tick to pass", res.Outcome(), exit != nil, err)
	}
}

func TestReceiverShape(t *testing.T) {
	good := idempotency.Receiver{Store: &idempotency.Memory{}}.Shape()
	if good.Err != nil || good.Effect != channel.External {
		t.Fatalf("shape %+v of a good receiver", good)
	}
	err := idempotency.Receiver{Lease: time.Millisecond, Remember: -1}.Shape().Err
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"Store", "Lease", "Remember"} {
		if !strings.Contains(err.Error(), "Receiver."+field) {
			t.Errorf("error %q does not name %s", err, field)
		}
	}
	if _, _, err := (idempotency.Receiver{}).Enter(arrive("1", "p")); !channel.IsPermanent(err) {
		t.Fatalf("error %v of a receiver without a store; want a permanent one", err)
	}
}

// A driver that calls an exit or a settle twice would commit another message's claim.
func TestReceiverRefusesASecondCall(t *testing.T) {
	r := idempotency.Receiver{Store: &idempotency.Memory{}}
	_, exit, err := r.Enter(arrive("1", "p"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := exit(channel.Done(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exit(channel.Done(), nil); err == nil {
		t.Fatal("a second exit is taken")
	}
	settle := res.Settler()
	if err := settle(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if err := settle(context.Background(), nil); err == nil {
		t.Fatal("a second settle is taken")
	}
}

// F35: of two messages with one id and other bytes, the second is never silently dropped, whichever
// came first, done or running.
func TestReceiverConflict(t *testing.T) {
	for _, order := range [][2]string{{"forged", "real"}, {"real", "forged"}} {
		t.Run(order[0]+" first", func(t *testing.T) {
			r := idempotency.Receiver{Store: &idempotency.Memory{}}
			_, exit, err := r.Enter(arrive("1", order[0]))
			if err != nil {
				t.Fatal(err)
			}
			check := func(when string) {
				t.Helper()
				_, _, err := r.Enter(arrive("1", order[1]))
				if !errors.Is(err, idempotency.ErrConflict) || !channel.IsPermanent(err) {
					t.Fatalf("error %v %s; want a permanent ErrConflict", err, when)
				}
			}
			check("while the first runs")
			res, err := exit(channel.Done(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := res.Settler()(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			check("when the first is done")
			if o, err := process(r, arrive("1", order[0]), done, nil); err != nil || o != channel.Dropped {
				t.Fatalf("%v, error %v; want a true duplicate dropped", o, err)
			}
		})
	}
}

// A message that had been held, and so is done, died later with its group. Put back, it runs, once.
func TestReceiverPutBack(t *testing.T) {
	r := idempotency.Receiver{Store: &idempotency.Memory{}}
	if _, err := process(r, arrive("1", "p"), func() (channel.Result, error) { return channel.Hold(), nil }, nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range []channel.Outcome{channel.Finished, channel.Dropped} {
		if o, err := process(r, arrive("1", "p", channel.HeaderOnly, "shop/charge"), done, nil); err != nil || o != want {
			t.Fatalf("%v, error %v the %d. time; want %v", o, err, i, want)
		}
	}
	if o, err := process(r, arrive("1", "p"), done, nil); err != nil || o != channel.Dropped {
		t.Fatalf("%v, error %v; want the ordinary duplicate dropped", o, err)
	}
}

// F26: while the store is down nothing passes, nothing is acknowledged and nothing counts; when it is
// back everything goes on.
func TestReceiverStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &remote{Store: &idempotency.Memory{}}
		r := idempotency.Receiver{Store: store}
		runs := 0
		block := func() (channel.Result, error) { runs++; return channel.Done(), nil }
		later := func(when string, err error) {
			t.Helper()
			if _, ok := channel.IsLater(err); !ok || !errors.Is(err, errDown) || channel.IsPermanent(err) {
				t.Fatalf("error %v %s; want the store's, Later", err, when)
			}
		}

		store.down.Store(true)
		_, err := process(r, arrive("1", "p"), block, nil)
		later("when it begins", err)
		if runs != 0 {
			t.Fatal("the message passed although the store could not be asked")
		}

		store.down.Store(false)
		_, err = process(r, arrive("1", "p"), block, func() error { store.down.Store(true); return nil })
		later("when it commits", err)
		if runs != 1 {
			t.Fatalf("%d runs; want 1", runs)
		}

		store.down.Store(false)
		if _, _, err := r.Enter(arrive("1", "p")); !errors.Is(err, idempotency.ErrRunning) {
			t.Fatalf("error %v; want ErrRunning until the lease ends", err)
		}
		time.Sleep(10*time.Second + 1)
		if o, err := process(r, arrive("1", "p"), block, nil); err != nil || o != channel.Finished || runs != 2 {
			t.Fatalf("%v, error %v, %d runs; want it processed again: nobody knows of the mark", o, err, runs)
		}

		// A claim that cannot be let go does not change what the handler's error means.
		_, err = process(r, arrive("2", "p"), func() (channel.Result, error) {
			store.down.Store(true)
			return channel.Result{}, channel.Permanent(errHandler)
		}, nil)
		if !errors.Is(err, errHandler) || !channel.IsPermanent(err) || !strings.Contains(err.Error(), errDown.Error()) {
			t.Fatalf("error %v; want the handler's, permanent, that tells of the store", err)
		}
		if _, ok := channel.IsLater(err); ok {
			t.Fatalf("error %v is Later: the handler's was permanent", err)
		}
	})
}

// F19: every message five times, within 100 of its place, at 8 workers, some attempts failing: each has
// its effect once. The attempts are pooled, and this is where one would be used twice.
func TestReceiverDuplicatesReordered(t *testing.T) {
	const n, copies, workers = 40, 5, 8
	seeds(t, 200, func(t *testing.T, rnd *rand.Rand) {
		type slot struct{ at, id int }
		var all []slot
		for id := range n {
			for range copies {
				all = append(all, slot{at: id*copies + rnd.IntN(100), id: id})
			}
		}
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		queue := make(chan int, len(all)*workers)
		for at := range n*copies + 100 {
			for _, s := range all {
				if s.at == at {
					queue <- s.id
				}
			}
		}
		r := idempotency.Receiver{Store: &idempotency.Memory{}}
		var effects [n]atomic.Int32
		var failures atomic.Int32
		failures.Store(20)
		var open, wg sync.WaitGroup
		open.Add(len(all))
		for range workers {
			wg.Go(func() {
				for id := range queue {
					_, err := process(r, arrive(strconv.Itoa(id), "p"+strconv.Itoa(id)), func() (channel.Result, error) {
						if failures.Add(-1) >= 0 {
							return channel.Result{}, errHandler
						}
						effects[id].Add(1)
						return channel.Done(), nil
					}, nil)
					if err != nil {
						if !errors.Is(err, errHandler) && !errors.Is(err, idempotency.ErrRunning) {
							t.Errorf("message %d: %v", id, err)
						}
						queue <- id
						continue
					}
					open.Done()
				}
			})
		}
		open.Wait()
		close(queue)
		wg.Wait()
		for id := range effects {
			if e := effects[id].Load(); e != 1 {
				t.Errorf("message %d had %d effects", id, e)
			}
		}
	})
}
