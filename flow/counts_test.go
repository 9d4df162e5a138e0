package flow_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

func TestCountsBalance(t *testing.T) {
	c := flow.Counts{Received: 36, Sent: 1, Done: 2, Held: 3, Dropped: map[string]int64{"b": 4, "a": 5}, Invalid: 6, Expired: 7, Dead: 8}
	if !c.Balanced() || c.DroppedAll() != 9 {
		t.Errorf("%v is not balanced", c)
	}
	c.InFlight, c.Released, c.Retries, c.Later, c.Returned, c.Again, c.Fired = 1, 1, 1, 1, 1, 1, 1
	if c.Balanced() {
		t.Errorf("%v is balanced", c)
	}
	want := "received=36 sent=1 done=2 held=3 dropped(a)=5 dropped(b)=4 invalid=6 expired=7 dead=8 in flight=1 released=1 retries=1 later=1 returned=1 again=1 fired=1"
	if got := c.String(); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := (flow.Counts{}).String(); got != "received=0" {
		t.Errorf("got %q", got)
	}
}

// A direct tree is counted at every step it passes, under what the message came to there, and only
// once it is settled: an attempt that fails leaves no trace.
func TestATreeIsCountedWhenItIsSettled(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		store := &aggregator.Memory{}
		parts := channel.Topic[parcel]("parts")
		r := newRig(t, how, quick(), flow.Direct(sorted, parts),
			flow.Step("split", arrivals, router.Split(func(p parcel) (ps []parcel) {
				for i := range p.N {
					ps = append(ps, parcel{ID: fmt.Sprint(p.ID, i), Kind: p.ID, N: i})
				}
				return ps
			}, sorted)),
			flow.Step("filter", sorted, router.Filter(func(p parcel) bool { return p.N > 0 }, parts), flow.Around(channel.InvalidChannel{To: "invalid"})),
			flow.Step("check", parts, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				if m.Body.N == 1 && m.Attempt() < 3 {
					return channel.Result{}, errFlaky
				}
				return channel.Done(), nil
			}, channel.Shape{}}),
			flow.Step("pack", parts, parcelsOf(4, store)))
		for i := range 10 {
			r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i), N: 5})
		}
		r.wait(time.Hour)
		r.is("split", "received=10 sent=10 retries=20")
		r.is("filter", "received=50 sent=40 dropped(filtered)=10")
		r.is("pack", "received=40 sent=10 held=30 released=30")
		r.is("check", "received=40 done=40")
		if n := store.Stats("f/pack").Groups; n != 0 {
			t.Errorf("%d groups are left", n)
		}
	})
}

// Every outcome there is, with an interceptor of each kind, balances.
func TestInvalidAndDuplicates(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Around(channel.InvalidChannel{To: "invalid"}, idempotency.Receiver{Store: &idempotency.Memory{}}),
			flow.Step("a", arrivals, translator.Map(func(p parcel) (sticker, error) {
				if p.Kind == "bad" {
					return sticker{}, fmt.Errorf("weight: %w", channel.ErrInvalid)
				}
				return stick(p)
			}, stickers)))
		for range 2 {
			r.give("arrivals", "", parcel{ID: "p1"})
			r.give("arrivals", "", parcel{ID: "p2", Kind: "bad"})
			r.giveRaw("arrivals", "p3", "", []byte("{"))
		}
		r.wait(time.Minute)
		r.is("a", "received=6 sent=1 dropped(duplicate)=1 invalid=4")
		for _, s := range r.on("invalid") {
			if s.Headers[channel.HeaderReason] == "" {
				t.Errorf("no reason: %v", s)
			}
		}
	})
}

// A tap is a source that speaks when the test says so.
type tap struct {
	emit func(ctx context.Context, r channel.Result) error
}

func (x *tap) Open(emit func(ctx context.Context, r channel.Result) error) { x.emit = emit }
func (*tap) Shape() channel.Shape {
	return channel.Shape{Pattern: "Gateway", Outlets: []channel.Outlet{channel.Out("", arrivals), channel.Out("", sorted)}}
}

// What a source says is a message of its step: over a broker or a direct hop, it is published, or in
// the dead letter, when emit returns nil.
func TestASource(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		src := &tap{}
		r := newRig(t, how, quick(), flow.Direct(arrivals), flow.Source("gate", src),
			flow.Step("a", arrivals, translator.MapMessage(pickyStick, stickers)))
		say := func(d channel.Delivery) error { return src.emit(context.Background(), channel.Send(d)) }
		if err := say(channel.To(arrivals, parcel{ID: "p1"})); err != nil {
			t.Error(err)
		}
		if err := say(channel.To(arrivals, parcel{ID: "p2", Kind: "flaky"})); err != nil {
			t.Error(err)
		}
		if err := say(channel.To(sorted, parcel{ID: "p3"}).Key("k")); err != nil {
			t.Error(err)
		}
		if len(r.on("stickers")) != 2 || len(r.on("sorted")) != 1 {
			t.Errorf("not published when emit returned: %v %v", r.on("stickers"), r.on("sorted"))
		}
		if err := say(channel.To(arrivals, parcel{ID: "p4", Kind: "damaged"}).ID("p4")); err != nil {
			t.Error(err)
		}
		letters := r.on("dead")
		if len(letters) != 1 || letters[0].Payload != `{"ID":"p4","Kind":"damaged","N":0}` || letters[0].Headers[flow.DeadTopic] != "arrivals" {
			t.Errorf("dead letters: %v", letters)
		}
		if err := say(channel.To(rejected, parcel{})); !errors.Is(err, channel.ErrUndeclared) {
			t.Errorf("an undeclared destination: %v", err)
		}
		if err := src.emit(context.Background(), channel.Result{}); !errors.Is(err, channel.ErrNoResult) {
			t.Errorf("saying nothing: %v", err)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if err := src.emit(ended, channel.Send(channel.To(arrivals, parcel{Kind: "flaky"}))); err == nil {
			t.Error("a failure of somebody who has gone is nobody's")
		}
		r.is("gate", "received=4 sent=3 dead=1 retries=1 returned=3")
		r.is("a", "received=2 sent=2")
		r.stop()
		if err := say(channel.To(arrivals, parcel{})); !errors.Is(err, channel.ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
	}, claims, routed)
}

// A feed is safe for concurrent use and returns when all is published.
func TestAFeed(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Direct(sorted), flow.Step("a", arrivals, router.Filter(small, sorted)),
			flow.Step("b", sorted, translator.Map(stick, stickers)), flow.Step("c", arrivals, done[parcel]()))
		feed := must(flow.Into(r.h, arrivals))(t)
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if err := feed(context.Background(), fmt.Sprint("p", i), parcel{ID: fmt.Sprint(i), Kind: "small"}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := len(r.on("stickers")); n != 100 {
			t.Errorf("%d of 100", n)
		}
		r.is("a", "received=100 sent=100")
		r.is("b", "received=100 sent=100")
		r.is("c", "received=100 done=100")
	}, claims, routed)
}

// One flow may run twice in a process: its accounts are of both.
func TestAFlowThatRunsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]()))
		one := (&rig{T: t, How: claims}).run(f)
		two := (&rig{T: t, How: oneByOne}).run(f)
		one.give("arrivals", "", parcel{ID: "p1"})
		two.give("arrivals", "", parcel{ID: "p2"})
		one.wait(time.Minute)
		one.is("a", "received=2 done=2")
		one.stop()
		two.give("arrivals", "", parcel{ID: "p3"})
		two.wait(time.Minute)
		two.is("a", "received=3 done=3")
	})
}

// What a block sends when its message has finally failed is counted where it goes, over a direct hop too. Breaks if
// the books of a message that died leave out what it caused.
func TestWhatTheLastWordCausesIsCounted(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		const notices channel.Topic[parcel] = "notices"
		r := newRig(t, how, quick(), flow.Direct(notices),
			flow.Step("fail", arrivals, block[parcel]{
				func(channel.Message[parcel]) (channel.Result, error) {
					return channel.Result{}, channel.Permanent(errFlaky)
				},
				channel.Shape{
					Outlets: []channel.Outlet{channel.Out("", notices)},
					Failed: func(*channel.Envelope, error) (channel.Result, error) {
						return channel.Send(channel.To(notices, parcel{ID: "notice"})), nil
					},
				},
			}),
			flow.Step("notice", notices, endpoint.Do(sink[parcel])))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		r.is("fail", "received=1 dead=1")
		r.is("notice", "received=1 done=1")
	})
}
