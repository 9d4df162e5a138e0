package aggregator

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
)

// A clockwork fires what is due as a driver does: it asks again when Next comes or Changed closes.
type clockwork struct {
	wakeups int
	fired   map[string][]time.Time
	last    map[string]channel.Result
}

func (c *clockwork) run(t *testing.T, timer *channel.Timer, scope string, groups int) {
	for len(c.fired) < groups {
		d, err := timer.Due(t.Context(), channel.DueRequest{Scope: scope, Now: time.Now(), Limit: 64})
		if err != nil {
			t.Error(err)
			return
		}
		c.wakeups++
		for _, key := range d.Keys {
			r, err := timer.Fire(t.Context(), scope, key)
			if err != nil {
				t.Error(err)
				return
			}
			c.fired[key] = append(c.fired[key], time.Now())
			c.last[key] = r
			if f := r.Settler(); f != nil {
				if err := f(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}
		}
		if len(c.fired) == groups {
			return
		}
		var next <-chan time.Time
		if !d.Next.IsZero() {
			timer := time.NewTimer(time.Until(d.Next))
			defer timer.Stop()
			next = timer.C
		}
		select {
		case <-next:
		case <-d.Changed:
		}
	}
}

// 1,000 groups over 30 days: each comes out at its deadline, once, and the clock wakes at most twice a
// group. Half of them are there before the clock is, half come while it runs.
func TestTimeouts(t *testing.T) {
	begun := time.Now()
	synctest.Test(t, func(t *testing.T) {
		const groups = 1000
		const seed = 3
		rnd := rand.New(rand.NewPCG(seed, 0))
		a, other := packer(&Memory{}), packer(nil)
		a.Size, other.Size, other.Store = 0, 0, a.Store // two instances
		deadlines := map[string]time.Time{}
		open := func(i int) {
			key := fmt.Sprint("k", i)
			other.Timeout = time.Duration(1 + rnd.Int64N(int64(15*24*time.Hour)))
			deadlines[key] = time.Now().Add(other.Timeout)
			if got := say(process(other, "f/s", key, line{Order: key})); got != "held" {
				t.Fatalf("%s: %s", key, got)
			}
		}
		for i := range groups / 2 {
			open(i)
		}
		c := clockwork{fired: map[string][]time.Time{}, last: map[string]channel.Result{}}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(t, a.Shape().Inlets[0].Clock, "f/s", groups)
		}()
		for i := range groups / 2 {
			time.Sleep(time.Duration(rnd.Int64N(int64(30 * 24 * time.Hour / groups))))
			open(groups/2 + i)
		}
		<-done
		for key, at := range deadlines {
			r := c.last[key]
			if fired := c.fired[key]; len(fired) != 1 || !fired[0].Equal(at) || say(r, nil) != "sent to packed by timeout releases 1" {
				t.Fatalf("seed %d: %s was due at %v and fired at %v: %s", seed, key, at, fired, say(r, nil))
			}
		}
		if c.wakeups > 2*groups {
			t.Errorf("seed %d: %d wake-ups for %d groups; want two a group at most", seed, c.wakeups, groups)
		}
		t.Logf("%d wake-ups", c.wakeups)
	})
	t.Logf("30 days took %v", time.Since(begun))
}

// Groups without a deadline wake the clock because of their leases, but not each of them.
func TestCompletionsWakeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := packer(&Memory{})
		clock := a.Shape().Inlets[0].Clock
		wakeups := 0
		var d channel.Due
		for i := range 3000 {
			if d.Changed == nil {
				d, _ = clock.Due(t.Context(), channel.DueRequest{Scope: "f/s", Now: time.Now()})
				wakeups++
			}
			r, err := process(a, "f/s", strconv.Itoa(i), line{Order: "a"})
			if err != nil {
				t.Fatal(err)
			}
			settle(t, r, nil)
			select {
			case <-d.Changed:
				d = channel.Due{}
			default:
			}
		}
		if wakeups > 2 {
			t.Errorf("%d wake-ups for 1,000 groups within one lease; want two at most", wakeups)
		}
		if d.Next.IsZero() || time.Until(d.Next) > defaultLease {
			t.Errorf("the clock asks again in %v; want a lease at most", time.Until(d.Next))
		}
	})
}

// The end of input completes what is open; a clock's key that comes too late does not.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := packer(&Memory{})
		a.CompleteOnDrain, a.Timeout = true, time.Minute
		clock := a.Shape().Inlets[0].Clock
		_, _ = process(a, "f/s", "1", line{Order: "a"})
		time.Sleep(time.Minute)
		d, _ := clock.Due(t.Context(), channel.DueRequest{Scope: "f/s", Now: time.Now(), Limit: 10})
		if fmt.Sprint(d.Keys) != "[a]" {
			t.Fatalf("due are %q", d.Keys)
		}
		r, err := clock.Fire(t.Context(), "f/s", "a")
		if err != nil {
			t.Fatal(err)
		}
		settle(t, r, nil)
		_, _ = process(a, "f/s", "2", line{Order: "a"}) // the key's next group
		if got := say(clock.Fire(t.Context(), "f/s", "a")); got != "dropped already released" {
			t.Fatalf("a second worker that was told of the first group: %s; want nothing", got)
		}
		_, _ = process(a, "f/s", "3", line{Order: "b"})
		d, _ = clock.Due(t.Context(), channel.DueRequest{Scope: "f/s", Now: time.Now(), Limit: 10, All: true})
		if len(d.Keys) != 2 {
			t.Fatalf("all are %q; want both open groups", d.Keys)
		}
		for _, key := range d.Keys {
			r, err := clock.Fire(channel.Early(t.Context()), "f/s", key) // as the drain of a flow does
			if got := say(r, err); got != "sent to packed by end releases 1" {
				t.Fatalf("%s at the end: %s, %v", key, got, err)
			}
			settle(t, r, nil)
		}
		if got := a.Store.(*Memory).Stats("f/s"); got.Groups != 0 || got.Open != 0 {
			t.Fatalf("after the end: %+v", got)
		}
	})
}

// Somebody who asks for a key by name gets what there is, due or not.
func TestFireByName(t *testing.T) {
	a := packer(&Memory{})
	_, _ = process(a, "f/s", "1", line{Order: "a"})
	clock := a.Shape().Inlets[0].Clock
	if got := say(clock.Fire(t.Context(), "f/s", "a")); got != "dropped already released" {
		t.Fatalf("a key that is not due: %s", got)
	}
	if got := say(clock.Fire(channel.Early(t.Context()), "f/s", "a")); got != "sent to packed by end releases 1" {
		t.Fatalf("a key that was asked for: %s", got)
	}
}
