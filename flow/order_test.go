package flow_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// Whatever fails, blocks, publishes, settles, a key's messages pass a step in their order and go out in
// it. Breaks if a lane forgets that a waiting message holds its key.
func TestOrderWithinAKeyIsNeverInverted(t *testing.T) {
	for _, how := range []string{claims, oneByOne, routed} {
		for _, workers := range []int{1, 8} {
			t.Run(fmt.Sprint(how, " ", workers), func(t *testing.T) {
				for seed := range leattest.Seeds(t, 10) {
					synctest.Test(t, func(t *testing.T) { keepsOrder(t, how, workers, seed) })
					if t.Failed() {
						t.Fatalf("replay with: %s", leattest.Replay(t, seed))
					}
				}
			})
		}
	}
}

func keepsOrder(t *testing.T, how string, workers int, seed uint64) {
	t.Helper()
	const n, keys = 300, 7
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 0))
	often := func(one int) bool {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(one) == 0
	}
	last := map[string]int{}
	b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		switch {
		case often(6):
			return channel.Result{}, errFlaky
		case often(10):
			return channel.Result{}, channel.Later(errFlaky, time.Second)
		}
		r := channel.Send(channel.To(stickers, sticker{m.Key(), m.Body.N}))
		if often(5) {
			r = r.Settle(func(_ context.Context, err error) error {
				if err == nil && often(3) {
					return errFlaky
				}
				return nil
			})
		}
		mu.Lock()
		defer mu.Unlock()
		if m.Body.N < last[m.Key()] {
			t.Errorf("key %s: %d after %d", m.Key(), m.Body.N, last[m.Key()])
		}
		last[m.Key()] = m.Body.N
		return r, nil
	}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", stickers)}}}
	r := &rig{T: t, How: how, wire: &wire{}, Broker: &memory.Broker{}}
	defer r.Broker.Close()
	r.fail = func(string, string, int) error {
		if often(5) {
			return errWire
		}
		return nil
	}
	r.run(mustNew(t, "f", flow.Policy{Attempts: 1000, Backoff: flow.Exponential(time.Second, time.Minute), DeadLetter: dead},
		flow.Workers(workers), flow.Step("a", arrivals, b)))
	for i := 1; i <= n; i++ {
		r.give("arrivals", fmt.Sprint(i%keys), parcel{ID: fmt.Sprint("p", i), N: i})
	}
	r.wait(24 * time.Hour)
	r.stop()
	if c := r.count("a"); c.Sent != n {
		t.Errorf("not all came out: %v", c)
	}
	out, seen := map[string]int{}, map[string]bool{}
	for _, s := range r.on("stickers") {
		var st sticker
		if err := json.Unmarshal([]byte(s.Payload), &st); err != nil {
			t.Fatal(err)
		}
		if seen[s.ID] { // sent again because a settle failed
			continue
		}
		seen[s.ID] = true
		if st.N < out[s.Key] {
			t.Errorf("key %s went out %d after %d", s.Key, st.N, out[s.Key])
		}
		out[s.Key] = st.N
	}
	if len(seen) != n {
		t.Errorf("%d of %d went out", len(seen), n)
	}
}

// With Workers keys are worked on side by side, one message of each at a time.
func TestWorkersWorkOnKeysSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most, clash atomic.Int32
		var keys sync.Map
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			if _, taken := keys.LoadOrStore(m.Key(), true); taken {
				clash.Add(1)
			}
			if n := busy.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(10 * time.Millisecond)
			busy.Add(-1)
			keys.Delete(m.Key())
			return channel.Done(), nil
		}, channel.Shape{Effect: channel.Acts}} // 64 workers by itself
		r := newRig(t, claims, quick(), flow.Step("a", arrivals, b))
		began := time.Now()
		for i := range 1000 {
			r.give("arrivals", fmt.Sprint("k", i%100), parcel{ID: fmt.Sprint("p", i)})
		}
		for r.count("a").Done < 1000 {
			r.wait(time.Millisecond)
		}
		if clash.Load() != 0 {
			t.Errorf("%d times two messages of a key at once", clash.Load())
		}
		if most.Load() < 16 || time.Since(began) > 5*time.Second {
			t.Errorf("at most %d at once, %v", most.Load(), time.Since(began))
		}
	})
}

// The reader waits for workers that have much before them, and not for those that are through: what takes no time takes none in all.
func TestFastMessagesTakeNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		b, _ := sleepy(0, channel.Acts)
		r := newRig(t, claims, quick(), flow.Step("a", arrivals, b))
		began := time.Now()
		for i := range n {
			r.give("arrivals", fmt.Sprint("k", i%100), parcel{ID: fmt.Sprint("p", i)})
		}
		for r.count("a").Done < n {
			r.wait(time.Millisecond)
		}
		if took := time.Since(began); took > 2*time.Millisecond {
			t.Errorf("they took %v", took)
		}
	})
}

// sleepy is a block that takes d, and how many messages it has had at once at most.
func sleepy(d time.Duration, e channel.Effect) (block[parcel], *atomic.Int32) {
	var busy, most atomic.Int32
	return block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
		if n := busy.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(d)
		busy.Add(-1)
		return channel.Done(), nil
	}, channel.Shape{Effect: e}}, &most
}

// While there are workers for them, no key waits for another, nor for those that were there before. Breaks if a key's hash
// chooses its worker, or if a worker is not free when its keys are through: then about a third of the keys wait.
func TestNoKeyWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, each = 32, 3
		b, most := sleepy(time.Minute, channel.Acts)
		r := newRig(t, claims, quick(), flow.Workers(keys), flow.Step("a", arrivals, b))
		for wave := range int64(3) {
			most.Store(0)
			for i := range keys * each {
				r.give("arrivals", fmt.Sprint(wave, "-", i%keys), parcel{ID: fmt.Sprint(wave, "-", i)})
			}
			began := time.Now()
			for r.count("a").Done < (wave+1)*keys*each {
				r.wait(time.Second)
			}
			if most.Load() != keys || time.Since(began) > (each+1)*time.Minute {
				t.Errorf("wave %d: %d of %d keys were worked on at once, all in %v", wave, most.Load(), keys, time.Since(began))
			}
		}
	})
}

// In a topic that is Ordered one message at a time is worked on, and a retry holds up all.
func TestAnOrderedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			if m.Body.N%3 == 0 && m.Attempt() < 3 {
				return channel.Result{}, errFlaky
			}
			got = append(got, m.Body.N)
			return channel.Done(), nil
		}, channel.Shape{Effect: channel.Acts}}
		r := &rig{T: t, How: claims, Broker: &memory.Broker{Order: adapters.Ordered}}
		defer r.Broker.Close()
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, b)))
		for i := range 30 {
			r.give("arrivals", fmt.Sprint("k", i), parcel{ID: fmt.Sprint("p", i), N: i})
		}
		r.wait(time.Hour)
		r.stop()
		if len(got) != 30 {
			t.Fatalf("%d of 30", len(got))
		}
		for i, n := range got {
			if n != i {
				t.Fatalf("order %v", got)
			}
		}
	})
}

// Where order is nobody's business all workers are used, whatever the keys.
func TestAnUnorderedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, most := sleepy(time.Second, channel.Pure)
		r := &rig{T: t, How: claims, Broker: &memory.Broker{Order: adapters.Unordered}}
		defer r.Broker.Close()
		r.run(mustNew(t, "f", quick(), flow.Workers(10), flow.Step("a", arrivals, b)))
		for i := range 100 {
			r.give("arrivals", "one key", parcel{ID: fmt.Sprint("p", i)})
		}
		r.wait(time.Minute)
		r.stop()
		r.is("a", "received=100 done=100")
		if most.Load() != 10 {
			t.Errorf("at most %d at once, want 10", most.Load())
		}
	})
}
