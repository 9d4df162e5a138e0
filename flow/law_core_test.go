package flow_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// asLeaves gives what a result sends, as it would leave for a broker.
func asLeaves(t *testing.T, cause *channel.Envelope, r *channel.Result) (out []sent) {
	t.Helper()
	for i := range r.Len() {
		var e channel.Envelope
		e.Follow(cause, r.At(i), i, "")
		s := sent{e.Topic(), e.ID(), e.Key(), string(must(e.Payload())(t)), map[string]string{}}
		maps.Insert(s.Headers, e.Fields().All())
		out = append(out, s)
	}
	return out
}

// Breaks if a block's result depends on anything but its message: a random id, a counter, a clock.
func TestLaw1ABlockRunTwiceSaysTheSame(t *testing.T) {
	twoOf := func(p parcel) []sticker { return []sticker{{p.ID, 1}, {p.ID, 2}} }
	for name, stage := range map[string]channel.Stage{
		"router":     channel.Erase(router.Content(router.When("small", small, sorted), router.Otherwise(rejected))),
		"filter":     channel.Erase(router.Filter(small, sorted)),
		"splitter":   channel.Erase(router.Split(twoOf, stickers)),
		"translator": channel.Erase(translator.Map(stick, stickers)),
		"activator": channel.Erase(endpoint.Call(func(_ context.Context, p parcel) (sticker, error) {
			return stick(p)
		}, stickers)),
	} {
		t.Run(name, func(t *testing.T) {
			run := func() []sent {
				var e channel.Envelope
				e.Arrive(&channel.Arrival{
					Context: t.Context(), Topic: "arrivals", Scope: "f/s", ID: "p1", Key: "k",
					Headers: channel.Fields{{Name: "tenant", Value: "a"}}, Payload: []byte(`{"ID":"p1","Kind":"small"}`),
				})
				var r channel.Result
				if err := stage(&e, &r); err != nil {
					t.Fatal(err)
				}
				return asLeaves(t, &e, &r)
			}
			first, second := run(), run()
			if len(first) == 0 || !reflect.DeepEqual(first, second) {
				t.Errorf("two runs differ, or say nothing:\n%v\n%v", first, second)
			}
		})
	}
}

func small(p parcel) bool { return p.Kind == "small" }

// Breaks if anything is published while a block, even one behind a direct hop, is still at work: if
// deliver published at once, say.
func TestLaw1ProcessTouchesNoBroker(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var working atomic.Int32
		slow := func(to channel.Topic[parcel]) block[parcel] {
			return block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				working.Add(1)
				defer working.Add(-1)
				time.Sleep(time.Second)
				return channel.Send(channel.To(to, m.Body)), nil
			}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", to)}}}
		}
		out := channel.Topic[parcel]("out")
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(topic, id string, _ int) error {
			if n := working.Load(); n != 0 {
				t.Errorf("%s was published to %s while %d blocks were at work", id, topic, n)
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Workers(1), flow.Direct(sorted),
			flow.Step("a", arrivals, slow(sorted)), flow.Step("b", sorted, slow(out)), flow.Step("c", sorted, slow(out))))
		r.give("arrivals", "k", parcel{ID: "p1"})
		r.wait(time.Minute)
		if n := len(r.on("out")); n != 2 {
			t.Errorf("%d messages came out, want 2", n)
		}
	})
}

// gated is a publisher that lets nothing through until it is opened.
type gated struct {
	open chan struct{}
	note *diary
}

func (g gated) Publish(topic string, ms ...*message.Message) error {
	<-g.open
	for range ms {
		g.note.add("published to " + topic)
	}
	return nil
}
func (gated) Close() error { return nil }

// Breaks if the acknowledgement does not wait for every publish and every settle of the tree: if a
// driver calls end before published, or runs the settles after it.
func TestLaw2NothingIsAcknowledgedTooEarly(t *testing.T) {
	for _, how := range []string{"engine", "router", "handler"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { acknowledgedLast(t, how) })
		})
	}
}

func acknowledgedLast(t *testing.T, how string) {
	var d diary
	var m *message.Message
	settles, refused := 0, errors.New("the store is away")
	send := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		r := channel.Send(channel.To(sorted, m.Body), channel.To(rejected, m.Body))
		return r.Settle(func(_ context.Context, err error) error {
			if err != nil {
				return err
			}
			if settles++; settles == 1 {
				return refused
			}
			d.add("settled")
			return nil
		}), nil
	}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted), channel.Out("", rejected)}}}
	pub, sub := gated{make(chan struct{}), &d}, newHand()
	switch how {
	case "engine":
		f := mustNew(t, "f", quick(), flow.Step("a", arrivals, send))
		h := must(f.Start(t.Context(), pub, sub))(t)
		defer balanced(t, h)
		defer h.Stop()
	default:
		w := message.NewDefaultRouter(nil)
		if how == "router" {
			f := mustNew(t, "f", quick(), flow.Step("a", arrivals, send))
			h := must(f.AddTo(w, pub, sub))(t)
			defer balanced(t, h)
		} else {
			h := must(flow.Handler("a", send, pub, quick(), flow.Logger(silent())))(t)
			w.AddConsumerHandler("a", "arrivals", sub, h)
		}
		go w.Run(context.Background())
		<-w.Running()
		defer w.Close()
	}
	m = sub.give("arrivals", "p1", `{"ID":"p1"}`)
	look := func(when, want string) {
		t.Helper()
		if got := fate(m); got != want {
			t.Errorf("%s it is %s, want %s", when, got, want)
		}
	}
	time.Sleep(time.Minute)
	look("while nothing is published", "open")
	if got := d.read(); len(got) != 0 {
		t.Errorf("too early: %v", got)
	}
	close(pub.open)
	synctest.Wait()
	look("while a settle fails", "open")
	time.Sleep(time.Minute)
	look("after all", "acknowledged")
	want := strings.Split("published to sorted,published to rejected,published to sorted,published to rejected,settled", ",")
	if got := d.read(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Breaks if a message can end without Send, Done, Hold, Drop or a dead letter: with any outcome that is
// counted nowhere, or an error that is swallowed.
func TestLaw2NothingIsDroppedWithoutTheWord(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			switch m.Body.Kind {
			case "send":
				return channel.Send(channel.Forward(sorted, m)), nil
			case "done":
				return channel.Done(), nil
			case "hold":
				return channel.Hold(), nil
			case "drop":
				return channel.Drop("unwanted"), nil
			case "dead":
				return channel.Dead(errFlaky), nil
			case "panic":
				panic("a block panics")
			}
			return channel.Result{}, errFlaky
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted)}}}
		r := newRig(t, how, quick(), flow.Step("a", arrivals, b))
		for i, kind := range []string{"send", "done", "hold", "drop", "dead", "panic", "error"} {
			r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i), Kind: kind})
		}
		r.giveRaw("arrivals", "p7", "", []byte("no JSON"))
		r.giveRaw("arrivals", "p8", "", nil) // a tombstone that the block does not take
		r.wait(time.Minute)
		r.is("a", "received=9 sent=1 done=1 held=1 dropped(unwanted)=1 dead=5 retries=4")
		if n := len(r.on("dead")); n != 5 {
			t.Errorf("%d dead letters, want 5", n)
		}
	}, claims, oneByOne, routed, goChan, goRouted)
}

// Breaks if Forward decodes and encodes again, on any of its ways: bytes in are bytes out.
func TestLaw3ForwardingNeverReencodes(t *testing.T) {
	const odd = "{ \"N\" : 1,\n\"unknown\":[ ], \"ID\":\"p1\", \"Kind\":\"small\" }"
	type other = channel.Topic[parcel]
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Direct(other("hop")),
			flow.Step("route", arrivals, router.Content(router.When("small", small, other("hop")))),
			flow.Step("keep", other("hop"), router.Filter(small, sorted)),
			flow.Step("odd", other("odd"), router.Filter(small, sorted), flow.Around(channel.InvalidChannel{To: "invalid"})))
		r.giveRaw("arrivals", "p1", "k", []byte(odd), channel.HeaderContentType, "application/json")
		r.giveRaw("odd", "p2", "k", []byte("\xff no JSON"))
		r.wait(time.Minute)
		if got := r.on("sorted"); len(got) != 1 || got[0].Payload != odd || got[0].Key != "k" {
			t.Errorf("what came out is not what came in: %q", got)
		} else if got[0].Headers[channel.HeaderContentType] != "application/json" {
			t.Errorf("the content type of the bytes is gone: %v", got[0].Headers)
		}
		if got := r.on("invalid"); len(got) != 1 || got[0].Payload != "\xff no JSON" {
			t.Errorf("on the invalid channel: %q", got)
		}
	})
}

// Breaks if published keeps what got through among what is to be sent, or makes new ids after a
// redelivery: by a random id in Follow, say.
func TestLaw8OnlyTheRestIsSentAgain(t *testing.T) {
	fanOut := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		var ds []channel.Delivery
		for i := range 5 {
			ds = append(ds, channel.To(stickers, sticker{m.Body.ID, i}))
		}
		return channel.Send(ds[0], ds[1:]...), nil
	}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", stickers)}}}
	everyWay(t, func(t *testing.T, how string) {
		r := &rig{T: t, How: how, wire: &wire{}}
		seen := 0
		r.fail = func(_, _ string, try int) error {
			if seen++; try == 1 && seen%2 == 0 {
				return errWire
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, fanOut)))
		r.give("arrivals", "k", parcel{ID: "p1"})
		r.wait(time.Minute)
		first := r.on("stickers")
		if len(first) != 5 {
			t.Fatalf("%d of 5 got through in one attempt, each to be sent once: %v", len(first), first)
		}
		r.is("a", "received=1 sent=1")
		// A redelivery: the same message once more.
		r.give("arrivals", "k", parcel{ID: "p1"})
		r.wait(time.Minute)
		again := r.on("stickers")[5:]
		ids := func(ss []sent) (ids []string) {
			for _, s := range ss {
				ids = append(ids, s.ID+" "+s.Payload)
			}
			slices.Sort(ids)
			return ids
		}
		if !slices.Equal(ids(first), ids(again)) {
			t.Errorf("a redelivery has other ids:\n%v\n%v", ids(first), ids(again))
		}
	})
}

// Breaks if tree takes the zero Result for an end.
func TestLaw11SayingNothingIsAnError(t *testing.T) {
	nothing := block[parcel]{func(channel.Message[parcel]) (channel.Result, error) { return channel.Result{}, nil }, channel.Shape{}}
	pass := guardian{enter: func(*channel.Envelope) (channel.Result, channel.Exit, error) { return channel.Result{}, nil, nil }}
	forgets := guardian{enter: func(*channel.Envelope) (channel.Result, channel.Exit, error) {
		return channel.Result{}, func(channel.Result, error) (channel.Result, error) { return channel.Result{}, nil }, nil
	}}
	done := endpoint.Do(func(context.Context, parcel) error { return nil })
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Direct(sorted),
			flow.Step("plain", channel.Topic[parcel]("plain"), nothing),
			flow.Step("guarded", channel.Topic[parcel]("guarded"), nothing, flow.Around(pass)),
			flow.Step("forgotten", channel.Topic[parcel]("forgotten"), done, flow.Around(forgets)),
			flow.Step("hop", channel.Topic[parcel]("hop"), router.Filter(func(parcel) bool { return true }, sorted)),
			flow.Step("child", sorted, nothing))
		for _, topic := range []string{"plain", "guarded", "forgotten", "hop"} {
			r.give(topic, "", parcel{ID: topic})
		}
		r.wait(time.Minute)
		letters := r.on("dead")
		if len(letters) != 4 {
			t.Fatalf("%d dead letters, want 4: %v", len(letters), r.h.Counts())
		}
		for _, l := range letters {
			if got := l.Headers[flow.DeadError]; !strings.Contains(got, "said nothing") || l.Headers[flow.DeadAttempts] != "1" {
				t.Errorf("dead letter of %s: %v", l.ID, l.Headers)
			}
		}
	})
}

// Breaks if a failed publish leads to try instead of resend.
func TestLaw15AFailedPublishRepeatsNoEffect(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		calls := map[string]int{}
		charge := func(_ context.Context, p parcel) (sticker, error) {
			calls[p.ID]++
			return stick(p)
		}
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(_, _ string, try int) error {
			if try <= 7 {
				return errWire
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Workers(1), flow.Step("charge", arrivals, endpoint.Call(charge, stickers))))
		for i := range 10 {
			r.give("arrivals", "k", parcel{ID: fmt.Sprint("p", i)})
		}
		r.wait(time.Hour)
		if got := r.on("stickers"); len(got) != 10 {
			t.Errorf("%d of 10 came out", len(got))
		}
		for id, n := range calls {
			if n != 1 {
				t.Errorf("%s was charged %d times", id, n)
			}
		}
		r.is("charge", "received=10 sent=10")
	})
}

// Breaks if one subscription per step is made within one group: each step would see half.
func TestLaw9EveryStepSeesEveryMessage(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var count [3]atomic.Int32
		see := func(i int) block[parcel] {
			return block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				if i == 1 && m.Body.N%10 == 0 && m.Attempt() < 3 {
					return channel.Result{}, errFlaky
				}
				if i == 2 && m.Body.N == 7 {
					return channel.Result{}, channel.Permanent(errFlaky)
				}
				count[i].Add(1)
				return channel.Done(), nil
			}, channel.Shape{}}
		}
		r := newRig(t, how, quick(), flow.Step("a", arrivals, see(0)), flow.Step("b", arrivals, see(1)), flow.Step("c", arrivals, see(2)))
		for i := range 100 {
			r.give("arrivals", fmt.Sprint(i%7), parcel{ID: fmt.Sprint("p", i), N: i})
		}
		r.wait(time.Hour)
		if a, b, c := count[0].Load(), count[1].Load(), count[2].Load(); a != 100 || b != 100 || c != 99 {
			t.Errorf("seen %d, %d, %d of 100", a, b, c)
		}
		r.is("a", "received=100 done=100")
		r.is("b", "received=100 done=100 retries=20")
		r.is("c", "received=100 done=99 dead=1")
	}, claims, oneByOne, routed, goChan, goRouted)
}

// lateSub is a subscriber whose group "billing" is slow to begin. A router, which begins with one group after
// the other, is slow with each.
type lateSub struct{ *memory.Subscriber }

func (s lateSub) Group(name string) message.Subscriber {
	return lateGroup{s.Subscriber.Group(name).(*memory.Subscriber), name}
}

type lateGroup struct {
	*memory.Subscriber

	name string
}

func (s lateGroup) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	if s.name == "billing" {
		time.Sleep(time.Second)
	}
	return s.Subscriber.Claim(ctx, topics, own)
}

func (s lateGroup) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	time.Sleep(time.Second)
	return s.Subscriber.Subscribe(ctx, topic)
}

// Breaks if a step in a group of its own shares the others' subscription, or takes part of it, or if
// Start or AddTo does not make every group before one of them reads: what it has finished would be gone.
func TestLaw9HoldsAcrossGroups(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		broker := &memory.Broker{}
		defer broker.Close()
		f := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]()), flow.Step("b", arrivals, done[parcel](), flow.Group("billing")))
		give := func(n int) {
			for i := range 50 {
				if err := broker.Publisher().Publish("arrivals", message.NewMessage(fmt.Sprint(n+i), []byte("{}"))); err != nil {
					t.Fatal(err)
				}
			}
		}
		give(0)
		var h *flow.Handle
		if pub, sub := broker.Publisher(), (lateSub{broker.Subscriber("f")}); how == routed {
			r := message.NewDefaultRouter(watermill.NopLogger{})
			h = must(f.AddTo(r, pub, sub))(t)
			over := make(chan error, 1)
			go func() { over <- r.Run(context.Background()) }()
			defer func() {
				if err := errors.Join(r.Close(), <-over); err != nil {
					t.Error("router:", err)
				}
			}()
		} else {
			h = must(f.Start(t.Context(), pub, sub))(t)
		}
		give(50)
		time.Sleep(time.Minute)
		for step, c := range h.Counts() {
			if c.Received != 100 || c.Done != 100 {
				t.Errorf("step %s: %v", step, c)
			}
		}
		h.Stop()
		balanced(t, h)
	}, claims, routed)
}
