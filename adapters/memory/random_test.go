package memory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// Publishers, and members that come, nack, hang, go and are killed, in virtual time. Nothing is lost,
// nothing comes again after its acknowledgement, no key's order is inverted. LEAT_SEED=n makes the
// choices of run n again (the scheduler makes its own).
func TestRandom(t *testing.T) {
	runs, first := uint64(60), uint64(time.Now().UnixNano())
	if s := os.Getenv("LEAT_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("LEAT_SEED: %v", err)
		}
		runs, first = 1, seed
	}
	for seed := first; seed < first+runs; seed++ {
		t.Run(fmt.Sprintf("LEAT_SEED=%d", seed), func(t *testing.T) {
			w := newWorld(seed)
			virtual(t, w.broker, w.run)
		})
	}
}

const groups, members, publishers, perPublisher, lives = 2, 3, 3, 150, 6

type world struct {
	seed    uint64
	broker  *memory.Broker
	ledgers []*ledger

	mu    sync.Mutex
	taken map[string]bool // by id: whether the publish went well
}

func newWorld(seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0))
	return &world{seed: seed, taken: map[string]bool{}, broker: &memory.Broker{
		Order: adapters.Order(r.IntN(3)), Bound: 1 + r.IntN(60), Lanes: 1 + r.IntN(8), Window: 1 + r.IntN(20),
		DrainTimeout: 10 * time.Millisecond, Backoff: memory.Backoff{Cap: 10 * time.Millisecond},
	}}
}

func (w *world) run(t *testing.T) {
	t.Logf("%v, bound %d, %d lanes, window %d", w.broker.Order, w.broker.Bound, w.broker.Lanes, w.broker.Window)
	var published, lived sync.WaitGroup
	ctx, stop := context.WithCancelCause(t.Context())
	for g := range groups {
		l := &ledger{t: t, name: fmt.Sprint("group", g), ordered: w.broker.Order != adapters.Unordered, states: map[string][]state{}}
		w.ledgers = append(w.ledgers, l)
		if err := w.broker.Subscriber(l.name).SubscribeInitialize("topic"); err != nil {
			t.Fatal(err)
		}
		for m := range members {
			r := rand.New(rand.NewPCG(w.seed, uint64(100+g*members+m)))
			lived.Go(func() {
				for life := range lives {
					w.live(ctx, l, r, fmt.Sprintf("member %d.%d", m, life), true)
				}
				w.live(ctx, l, r, fmt.Sprintf("member %d", m), false)
			})
		}
	}
	for p := range publishers {
		published.Go(func() { w.publish(t, p, rand.New(rand.NewPCG(w.seed, uint64(1+p)))) })
	}
	published.Wait()
	start := time.Now()
	for _, l := range w.ledgers {
		for {
			synctest.Wait() // every acknowledgement is certain now, or for ever uncertain
			n := l.open(w.taken)
			if n == 0 {
				break
			}
			if time.Since(start) > time.Minute { // virtual; ten times all pauses together
				t.Fatalf("group %s: %d of %d messages are lost", l.name, n, len(w.taken))
			}
			time.Sleep(10 * time.Millisecond) // virtual
		}
	}
	for _, l := range w.ledgers {
		l.end()
	}
	stop(errAmbiguous)
	lived.Wait()
	// What the broker still has, a group that comes now would get.
	if left := drain(subscribe(t, t.Context(), w.broker.Subscriber(""), "topic")); len(left) > 0 {
		w.onlyMaybe(t, left)
	}
}

// onlyMaybe checks that what is left was acknowledged when it may have been too late.
func (w *world) onlyMaybe(t *testing.T, left []string) {
	t.Helper()
	for _, id := range left {
		sure := true
		for _, l := range w.ledgers {
			states, n := l.at(id)
			sure = sure && states[n].acked
		}
		if sure {
			t.Errorf("%s is kept though every group has acknowledged it", id)
		}
	}
}

// publish puts messages on the topic by Publish and Send, some with little patience. A key is one
// publisher's; in Ordered mode only the first publisher is one.
func (w *world) publish(t *testing.T, p int, r *rand.Rand) {
	pub := w.broker.Publisher()
	next := map[string]int{}
	if w.broker.Order == adapters.Ordered && p > 0 {
		return
	}
	for range perPublisher {
		key, stream := "", fmt.Sprintf("p%d", p)
		if k := r.IntN(4); k > 0 && w.broker.Order != adapters.Ordered {
			key = fmt.Sprintf("p%d-%d", p, k)
			stream = key
		}
		id := fmt.Sprintf("%s/%d", stream, next[stream])
		ctx, cancel := t.Context(), func() {}
		if r.IntN(10) == 0 {
			ctx, cancel = context.WithTimeout(ctx, 5*time.Millisecond)
		}
		var err error
		if r.IntN(2) == 0 {
			m := msg(id, key)
			m.SetContext(ctx)
			err = pub.Publish("topic", m)
		} else {
			sent := make(chan struct{})
			o := out(ctx, "topic", id, key)
			o.NoWait = r.IntN(10) == 0
			pub.Send([]*adapters.Outgoing{o}, func([]*adapters.Outgoing) { close(sent) })
			<-sent
			err = o.Err
		}
		cancel()
		if err == nil {
			next[stream]++
		} else if !errors.Is(err, adapters.ErrFull) {
			t.Errorf("publishing %s: %v", id, err)
		}
		w.mu.Lock()
		if err == nil {
			w.taken[id] = true
		}
		w.mu.Unlock()
		if r.IntN(5) == 0 {
			time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) // virtual
		}
	}
}

// live is one life of a member: a subscription or a claim. A wild one nacks, hangs and ends early.
func (w *world) live(ctx context.Context, l *ledger, r *rand.Rand, name string, wild bool) {
	a := &actor{name: name, deep: r.IntN(2) == 0}
	sub := w.broker.Subscriber(l.name)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var ended sync.WaitGroup
	h := &handler{ledger: l, actor: a, wild: wild, r: r}
	if a.deep {
		ended.Go(func() {
			if err := sub.Claim(ctx, []string{"topic"}, h.own); err != nil && !errors.Is(err, adapters.ErrClosed) {
				l.fault("claim of %s: %v", name, err)
			}
		})
	} else {
		ms, err := sub.Subscribe(ctx, "topic")
		if err != nil {
			l.fault("subscription of %s: %v", name, err)
			return
		}
		ended.Go(func() { h.read(ms) })
	}
	if wild {
		time.Sleep(time.Duration(h.n(40)) * time.Millisecond) // virtual
	} else {
		<-ctx.Done()
	}
	l.stops(a)
	if h.n(2) == 0 {
		cancel(errAmbiguous)
	} else if err := sub.Close(); err != nil {
		l.fault("closing %s: %v", name, err)
	}
	ended.Wait()
}

// errAmbiguous ends a subscription's context, and so its messages': whether an acknowledgement came in
// time then nobody can tell.
var errAmbiguous = fmt.Errorf("the life ends: %w", channel.ErrStopped)
