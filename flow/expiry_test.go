package flow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/translator"
)

// patient is a block that works for a time unless its context ends.
func patient(d time.Duration, seen *[]error) channel.Processor[parcel] {
	return endpoint.Do(func(ctx context.Context, _ parcel) error {
		select {
		case <-time.After(d):
			*seen = append(*seen, nil)
			return nil
		case <-ctx.Done():
			*seen = append(*seen, context.Cause(ctx))
			return ctx.Err() // as most clients give it
		}
	})
}

func within(d time.Duration) []string {
	return []string{channel.HeaderExpires, time.Now().Add(d).Format(time.RFC3339Nano)}
}

func TestAMessageExpires(t *testing.T) {
	fails := endpoint.Do(func(context.Context, parcel) error { return errFlaky })
	for name, x := range map[string]struct {
		block   func(seen *[]error) channel.Processor[parcel]
		expires time.Duration
		counts  string
		seen    int // times that the block saw a deadline pass
	}{
		"before it arrives": {func(s *[]error) channel.Processor[parcel] { return patient(0, s) }, -time.Second, "received=1 expired=1", 0},
		"during the work":   {func(s *[]error) channel.Processor[parcel] { return patient(time.Hour, s) }, time.Second, "received=1 expired=1", 1},
		"between attempts":  {func(*[]error) channel.Processor[parcel] { return fails }, 1500 * time.Millisecond, "received=1 expired=1 retries=2", 0},
		"not at all":        {func(s *[]error) channel.Processor[parcel] { return patient(time.Second, s) }, 2 * time.Second, "received=1 done=1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				var seen []error
				r := newRig(t, how, quick(), flow.Step("a", arrivals, x.block(&seen)))
				r.give("arrivals", "k", parcel{ID: "p1"}, within(x.expires)...)
				r.wait(time.Minute)
				r.is("a", x.counts)
				expired := 0
				for _, err := range seen {
					if errors.Is(err, channel.ErrExpired) {
						expired++
					}
				}
				if expired != x.seen {
					t.Errorf("the block saw %v", seen)
				}
				letters := r.on("dead")
				if want := strings.Count(x.counts, "expired"); len(letters) != want {
					t.Fatalf("%d dead letters", len(letters))
				}
				for _, l := range letters {
					if l.Headers[flow.DeadClass] != "expired" || !strings.Contains(l.Headers[flow.DeadError], "message expired") {
						t.Errorf("letter: %v", l.Headers)
					}
				}
			})
		})
	}
}

// With the interceptor what expires has a place of its own, before the work and during it.
func TestExpiredMessagesGoToTheirNamedPlace(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var seen []error
		r := newRig(t, how, quick(), flow.Workers(1), flow.Around(channel.Expiry{To: "late"}),
			flow.Step("a", arrivals, patient(time.Minute, &seen)))
		r.giveRaw("arrivals", "p1", "k", []byte(`{ }`), within(-time.Second)...)
		r.giveRaw("arrivals", "p2", "k", []byte(`{ }`), within(10*time.Second)...)
		r.giveRaw("arrivals", "p3", "k", []byte(`{ }`), within(time.Hour)...)
		r.giveRaw("arrivals", "p4", "k", []byte(`{ }`), channel.HeaderExpires, "tomorrow")
		r.wait(time.Hour)
		r.is("a", "received=4 done=1 expired=2 dead=1")
		for _, s := range r.on("late") {
			if s.Payload != `{ }` || s.Key != "k" {
				t.Errorf("in the named place: %v", s)
			}
		}
		if n := len(r.on("late")); n != 2 {
			t.Errorf("%d in the named place", n)
		}
		if l := r.on("dead"); len(l) != 1 || l[0].ID != "p4" || !strings.Contains(l[0].Headers[flow.DeadError], channel.HeaderExpires) {
			t.Errorf("a deadline that nobody can read: %v", l)
		}
	}, claims, oneByOne, routed)
}

// Over a direct hop a delivery may have a deadline of its own, sooner or later than its cause's.
func TestADirectChildHasItsOwnDeadline(t *testing.T) {
	for name, x := range map[string]struct {
		root, child time.Duration // 0: none
		named       bool
		counts      map[string]string
	}{
		"sooner":            {0, time.Second, false, map[string]string{"root": "received=1 expired=1", "child": "received=0"}},
		"sooner, named":     {0, time.Second, true, map[string]string{"root": "received=1 sent=1", "child": "received=1 expired=1"}},
		"later":             {time.Second, time.Hour, false, map[string]string{"root": "received=1 sent=1", "child": "received=1 done=1"}},
		"that of its cause": {time.Second, 0, false, map[string]string{"root": "received=1 expired=1", "child": "received=0"}},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				var seen []error
				root := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
					d := channel.Forward(sorted, m)
					if x.child > 0 {
						d = channel.Expires.Put(d, time.Now().Add(x.child))
					}
					return channel.Send(d), nil
				}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted)}}}
				parts := []flow.Part{}
				if x.named {
					parts = append(parts, flow.Around(channel.Expiry{To: "late"}))
				}
				r := newRig(t, how, quick(), flow.Direct(sorted),
					flow.Step("root", arrivals, root), flow.Step("child", sorted, patient(time.Minute, &seen), parts...))
				var headers []string
				if x.root > 0 {
					headers = within(x.root)
				}
				r.give("arrivals", "", parcel{ID: "p1"}, headers...)
				r.wait(time.Hour)
				for step, want := range x.counts {
					r.is(step, want)
				}
				if x.named != (len(r.on("late")) == 1) {
					t.Errorf("in the named place: %v", r.on("late"))
				}
				if l := r.on("dead"); len(l) == 1 && (l[0].ID != "p1" || l[0].Headers[flow.DeadStep] != "child") {
					t.Errorf("the letter is not the root's, naming the child: %v", l)
				}
			}, claims, routed)
		})
	}
}

// A deadline bounds the work, not what the work owes: what was computed in time is published, and
// settled, however long that takes.
func TestADeadlineDoesNotBoundThePublish(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := &rig{T: t, How: how, wire: &wire{}}
		until := time.Now().Add(10 * time.Second)
		r.fail = func(string, string, int) error {
			if time.Now().Before(until) {
				return errWire
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, translator.Map(stick, stickers))))
		r.give("arrivals", "", parcel{ID: "p1"}, within(time.Second)...)
		r.wait(time.Minute)
		r.is("a", "received=1 sent=1")
	})
}
