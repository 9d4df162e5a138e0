package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// watched is a store that counts how often its clock is asked.
type watched struct {
	aggregator.Store
	mu    sync.Mutex
	asked int
	down  bool
}

func (w *watched) Due(ctx context.Context, r channel.DueRequest) (channel.Due, error) {
	w.mu.Lock()
	w.asked++
	down := w.down
	w.mu.Unlock()
	if down {
		return channel.Due{}, errors.New("the store is away")
	}
	return w.Store.Due(ctx, r)
}

// A thousand groups that expire over thirty days: each at its deadline, each once, and nobody asks the
// store more often than twice a group.
func TestTimeoutsWakeNobodyInVain(t *testing.T) {
	for _, how := range []string{claims, routed} {
		t.Run(how, func(t *testing.T) {
			began := time.Now()
			synctest.Test(t, func(t *testing.T) { thousandTimeouts(t, how) })
			t.Logf("two virtual months took %v", time.Since(began))
		})
	}
}

func thousandTimeouts(t *testing.T, how string) {
	const groups, days = 1000, 30
	store := &watched{Store: &aggregator.Memory{}}
	began := time.Now()
	pack := parcelsOf(0, store)
	pack.Timeout = 30 * 24 * time.Hour
	released := map[string]time.Duration{}
	pack.Combine = func(key string, _ []parcel) ([]string, error) {
		if _, twice := released[key]; twice {
			t.Errorf("%s was released twice", key)
		}
		released[key] = time.Since(began)
		return []string{key}, nil
	}
	r := newRig(t, how, quick(), flow.Workers(1), flow.Step("pack", arrivals, pack))
	const every = days * 24 * time.Hour / groups
	for i := range groups {
		r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i), Kind: fmt.Sprint("k", i)})
		r.wait(every)
	}
	r.wait(31 * 24 * time.Hour)
	t.Logf("%d groups, the store was asked %d times", groups, store.asked)
	r.is("pack", "received=1000 held=1000 released=1000 fired=1000")
	for i := range groups {
		if late := released[fmt.Sprint("k", i)] - pack.Timeout - time.Duration(i)*every; late < 0 || late > time.Millisecond {
			t.Fatalf("group %d came %v after its deadline", i, late)
		}
	}
	if n := len(r.on("pallets")); n != groups {
		t.Errorf("%d groups came out", n)
	}
	if store.asked > 2*groups+10 {
		t.Errorf("the store was asked %d times for %d groups", store.asked, groups)
	}
}

// A store that is down is asked again; its keys fire when it is back.
func TestAClockWhoseStoreIsDown(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		store := &watched{Store: &aggregator.Memory{}}
		r := newRig(t, how, quick(), flow.Step("pack", arrivals, parcelsOf(9, store)))
		r.give("arrivals", "", parcel{ID: "p1", Kind: "red"})
		r.wait(time.Second)
		store.mu.Lock()
		store.down = true
		store.mu.Unlock()
		r.wait(time.Hour)
		if n := len(r.on("pallets")); n != 0 {
			t.Errorf("%d came out of a store that is down", n)
		}
		store.mu.Lock()
		store.down = false
		store.mu.Unlock()
		r.wait(2 * time.Second)
		if n := len(r.on("pallets")); n != 1 {
			t.Errorf("%d came out 2 s after it was back", n)
		}
	}, claims, routed)
}

// bell is a block with nothing but a clock.
func bell(due func(ctx context.Context, r channel.DueRequest) (channel.Due, error), fire func(key string) (channel.Result, error)) block[parcel] {
	return block[parcel]{func(channel.Message[parcel]) (channel.Result, error) { return channel.Done(), nil }, channel.Shape{
		Outlets: []channel.Outlet{channel.Out("", stickers)},
		Inlets: []channel.Inlet{channel.Clock("bell", due, func(_ context.Context, _, key string) (channel.Result, error) {
			return fire(key)
		})},
	}}
}

// A clock that fails for good and names no entries is never buried and never given up: no dead letter
// is made of a timer.
func TestNoDeadLetterIsMadeOfATimer(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var fired atomic.Int64
		var mended atomic.Bool
		r := newRig(t, how, quick(), flow.Step("a", arrivals, bell(
			func(context.Context, channel.DueRequest) (channel.Due, error) {
				if mended.Load() {
					return channel.Due{}, nil
				}
				return channel.Due{Keys: []string{"k"}}, nil
			},
			func(key string) (channel.Result, error) {
				fired.Add(1)
				if !mended.Load() {
					return channel.Result{}, channel.Permanent(errFlaky)
				}
				return channel.Send(channel.To(stickers, sticker{Parcel: key}).ID(key)), nil
			})))
		r.wait(time.Hour)
		if n := len(r.on("dead")); n != 0 {
			t.Errorf("%d dead letters of a timer", n)
		}
		if c := r.count("a"); fired.Load() < 100 || c.Later != fired.Load() || c.Fired != 1 {
			t.Errorf("it was tried %d times: %v", fired.Load(), c)
		}
		mended.Store(true)
		r.wait(time.Minute)
		if got := r.on("stickers"); len(got) != 1 || got[0].Payload != `{"Parcel":"k","N":0}` {
			t.Errorf("after it was mended: %v", got)
		}
	}, claims, routed)
}

// More keys than are asked for at once come all the same, each once; a panic in Due is an error of it.
func TestAClockWithManyKeys(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var mu sync.Mutex
		waiting, asked := map[string]bool{}, 0
		for i := range 1234 {
			waiting[fmt.Sprint(i)] = true
		}
		r := newRig(t, how, quick(), flow.Step("a", arrivals, bell(
			func(_ context.Context, q channel.DueRequest) (due channel.Due, err error) {
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked == 2 {
					panic("due")
				}
				for k := range waiting {
					if len(due.Keys) == q.Limit {
						break
					}
					due.Keys = append(due.Keys, k)
				}
				return due, nil
			},
			func(key string) (channel.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				if !waiting[key] {
					t.Errorf("key %s fired again", key)
				}
				delete(waiting, key)
				return channel.Done(), nil
			})))
		r.wait(time.Hour)
		if c := r.count("a"); c.Fired != 1234 || len(waiting) != 0 {
			t.Errorf("%v, %d are left", c, len(waiting))
		}
	}, claims, routed)
}

// A key is due again while what it was due for is still under way, of which the store says nothing more. Breaks if it is
// forgotten: its second group then waits for the store to change.
func TestAKeyThatIsDueAgainMeanwhile(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var mu sync.Mutex
		began, asked, never := time.Now(), 0, make(chan struct{})
		groups := []time.Duration{0, time.Second} // since then they are due
		var fired []time.Duration
		r := newRig(t, how, quick(), flow.Step("a", arrivals, bell(
			func(_ context.Context, q channel.DueRequest) (channel.Due, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				due := channel.Due{Changed: never}
				for _, at := range groups[len(fired):] { // what is being fired is not due
					if at := began.Add(at); at.After(q.Now) {
						due.Next = at
					} else {
						due.Keys = []string{"k"}
					}
				}
				return due, nil
			},
			func(string) (channel.Result, error) {
				mu.Lock()
				fired = append(fired, time.Since(began))
				mu.Unlock()
				time.Sleep(5 * time.Second)
				return channel.Done(), nil
			})))
		r.wait(time.Hour)
		if fmt.Sprint(fired) != "[0s 6s]" || asked > 5 {
			t.Errorf("it fired at %v, and the store was asked %d times; want that the second fires a second after the first is through", fired, asked)
		}
	}, claims, routed)
}

// Keys that all come to nothing, since somebody else has a claim on them, are asked for again, but nobody spins. Breaks if the end
// of a full round has the store asked at once, whatever came of it.
func TestManyKeysThatComeToNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var asked atomic.Int64
		keys := ids(150)
		r := newRig(t, how, quick(), flow.Step("a", arrivals, bell(
			func(_ context.Context, q channel.DueRequest) (channel.Due, error) {
				asked.Add(1)
				return channel.Due{Keys: keys[:min(len(keys), q.Limit)], Next: q.Now}, nil
			},
			func(string) (channel.Result, error) { return channel.Drop("somebody else's"), nil })))
		r.wait(time.Minute)
		if n := asked.Load(); n < 50 || n > 200 {
			t.Errorf("the store was asked %d times in a minute", n)
		}
	}, claims, routed)
}

// One of more keys than are asked for at once waits an hour for its retry. Breaks if those that did not fit wait with it.
func TestAKeyThatWaitsHoldsUpNoOther(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var mu sync.Mutex
		began, waiting, fired := time.Now(), ids(150), map[string]time.Duration{}
		r := newRig(t, how, flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead}, flow.Step("a", arrivals, bell(
			func(_ context.Context, q channel.DueRequest) (channel.Due, error) {
				mu.Lock()
				defer mu.Unlock()
				due := channel.Due{Changed: make(chan struct{}), Keys: slices.Clone(waiting[:min(len(waiting), q.Limit)])}
				if len(waiting) > q.Limit {
					due.Next = q.Now
				}
				return due, nil
			},
			func(key string) (channel.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				since := time.Since(began)
				if key == "0" && since < 30*time.Minute {
					return channel.Result{}, errFlaky
				}
				fired[key] = since
				waiting = slices.DeleteFunc(waiting, func(k string) bool { return k == key })
				return channel.Done(), nil
			})))
		r.wait(2 * time.Hour)
		for _, key := range ids(150) {
			if at, ok := fired[key]; !ok || key != "0" && at > 2*time.Second {
				t.Errorf("key %s was fired after %v", key, at)
			}
		}
	}, claims, routed)
}

// Fifty groups are due, and while they are fired two thousand more. Breaks if a store is asked for each group, and lists all.
func TestGroupsThatAreDueMeanwhile(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		store := &watched{Store: &aggregator.Memory{}}
		slow := parcelsOf(0, store)
		slow.Timeout = time.Minute
		combine := slow.Combine
		slow.Combine = func(key string, ps []parcel) ([]string, error) {
			time.Sleep(time.Millisecond)
			return combine(key, ps)
		}
		r := newRig(t, how, quick(), flow.Step("pack", arrivals, slow))
		for i := range 2050 {
			if i == 50 {
				r.wait(10 * time.Millisecond)
			}
			r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i), Kind: fmt.Sprint("k", i)})
		}
		r.wait(time.Hour)
		r.is("pack", "received=2050 held=2050 released=2050 fired=2050")
		if store.asked > 100 {
			t.Errorf("the store was asked %d times", store.asked)
		}
	}, claims, routed)
}

// ids gives so many keys.
func ids(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// A flow that is stopped fires nothing more, and Stop waits for what is being fired. Breaks if a router's clocks go on until
// the router closes.
func TestClocksEndWithTheFlow(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var fired, through atomic.Int64
		r := newRig(t, how, quick(), flow.Step("a", arrivals, bell(
			func(_ context.Context, q channel.DueRequest) (channel.Due, error) {
				return channel.Due{Keys: []string{q.Now.String()}, Next: q.Now.Add(time.Minute)}, nil
			},
			func(string) (channel.Result, error) {
				fired.Add(1)
				time.Sleep(5 * time.Second)
				through.Add(1)
				return channel.Done(), nil
			})))
		r.wait(time.Minute) // the second is being fired
		r.h.Stop()
		if fired.Load() != 2 || through.Load() != 2 {
			t.Errorf("%d keys were fired when the flow had stopped, and %d of them were through; want 2", fired.Load(), through.Load())
		}
		r.wait(time.Hour)
		if fired.Load() != 2 {
			t.Errorf("%d keys were fired an hour later", fired.Load())
		}
	}, claims, routed)
}

// Two instances: each due key goes to one of them.
func TestTwoClocksOfOneStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, store := &memory.Broker{}, &aggregator.Memory{}
		defer broker.Close()
		var all []*rig
		for range 2 {
			r := &rig{T: t, How: claims, Broker: broker}
			all = append(all, r.run(mustNew(t, "f", quick(), flow.Step("pack", arrivals, parcelsOf(9, store)))))
		}
		for i := range 300 {
			all[0].give("arrivals", "", parcel{ID: fmt.Sprint("p", i), Kind: fmt.Sprint(i / 3)})
		}
		all[0].wait(time.Hour)
		ids, n := map[string]bool{}, 0
		var held, released int64
		for _, r := range all {
			for _, s := range r.on("pallets") {
				n++
				ids[s.ID] = true
			}
			held, released = held+r.count("pack").Held, released+r.count("pack").Released
		}
		if n != 100 || len(ids) != 100 || held != 300 || released != 300 {
			t.Errorf("%d pallets with %d ids, %d held, %d released", n, len(ids), held, released)
		}
		for _, r := range all {
			r.stop()
		}
	})
}
