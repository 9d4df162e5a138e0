package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// rule says where parcels of a kind go.
type rule struct{ Kind, To string }

const rules channel.Topic[rule] = "rules"

// A ruled is a router that every instance teaches itself.
type ruled struct {
	learn func(m channel.Message[rule]) error // may refuse a rule; nil: none
	clock *channel.Timer

	mu sync.Mutex
	to map[string]string
}

func (r *ruled) Process(m channel.Message[parcel]) (channel.Result, error) {
	switch r.known()[m.Body.Kind] {
	case "sorted":
		return channel.Send(channel.Forward(sorted, m)), nil
	case "rejected":
		return channel.Send(channel.Forward(rejected, m)), nil
	}
	return channel.Result{}, channel.ErrNoRoute
}

func (r *ruled) Shape() channel.Shape {
	every := channel.In("rules", rules, func(m channel.Message[rule]) (channel.Result, error) {
		if r.learn != nil {
			if err := r.learn(m); err != nil {
				return channel.Result{}, err
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.to == nil {
			r.to = map[string]string{}
		}
		r.to[m.Body.Kind] = m.Body.To
		return channel.Done(), nil
	})
	every.Broadcast = true
	s := channel.Shape{
		Pattern: "Dynamic Router", Inlets: []channel.Inlet{every},
		Outlets: []channel.Outlet{channel.Out("sorted", sorted), channel.Out("rejected", rejected)},
	}
	if r.clock != nil {
		tick := channel.Clock("tick", r.clock.Due, r.clock.Fire)
		tick.Clock.AtEnd = r.clock.AtEnd
		s.Inlets = append(s.Inlets, tick)
	}
	return s
}

func (r *ruled) known() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.to)
}

// A depot is a broker whose rules are kept, with the instances that run on it.
type depot struct {
	*wire

	t      *testing.T
	driver leattest.Driver
	broker *memory.Broker
}

// everyDepot runs a test in virtual time on the engine and on a router.
func everyDepot(t *testing.T, test func(t *testing.T, d *depot)) {
	t.Helper()
	for _, driver := range []leattest.Driver{leattest.Engine, leattest.Router} {
		t.Run(driver.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &memory.Broker{Keep: []string{string(rules)}}
				t.Cleanup(func() { b.Close() })
				test(t, &depot{&wire{to: b.Publisher()}, t, driver, b})
			})
		})
	}
}

// put publishes bodies on a topic, under their keys and ids made of them.
func (d *depot) put(topic string, bodies ...any) {
	d.t.Helper()
	for _, body := range bodies {
		m := message.NewMessage("", must(json.Marshal(body))(d.t))
		switch x := body.(type) {
		case rule:
			m.UUID, m.Metadata[channel.HeaderKey] = x.Kind+" to "+x.To, x.Kind
		case parcel:
			m.UUID, m.Metadata[channel.HeaderKey] = x.ID, x.ID
		}
		if err := d.broker.Publisher().Publish(topic, m); err != nil {
			d.t.Fatal(err)
		}
	}
}

// An instance is a flow that runs.
type instance struct {
	*ruled

	h    *flow.Handle
	stop func() // may be called again
}

// start runs one more instance of a flow.
func (d *depot) start(name string, r *ruled, parts ...flow.Part) *instance {
	d.t.Helper()
	f := mustNew(d.t, name, append(parts, quick(), flow.Step("route", arrivals, r))...)
	h, stop := d.driver.Launch(d.t, f, d.wire, d.broker.Subscriber(name))
	x := &instance{r, h, sync.OnceFunc(stop)}
	d.t.Cleanup(func() {
		x.stop()
		balanced(d.t, h)
	})
	return x
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// ids lists the ids on a topic, sorted.
func (d *depot) ids(topic string) (ids []string) {
	for _, s := range d.on(topic) {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return ids
}

// wants compares, in short form.
func wants(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Every instance has every rule, those from before it began and those from after; of the parcels each sees
// its share. Breaks if instances share the rules, if rules that others have read are gone, or if one begins
// late and knows only what came since.
func TestLaw9EveryInstanceSeesABroadcast(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		d.put("rules", rule{"a", "sorted"}, rule{"b", "sorted"})
		one := d.start("f", &ruled{})
		pass(time.Second)
		d.put("rules", rule{"b", "rejected"})
		two := d.start("f", &ruled{})
		pass(time.Second)
		d.put("rules", rule{"c", "rejected"})
		pass(time.Second)
		want := map[string]string{"a": "sorted", "b": "rejected", "c": "rejected"}
		wants(t, "the first knows", one.known(), want)
		wants(t, "the second knows", two.known(), want)
		for i := range 30 {
			d.put("arrivals", parcel{ID: fmt.Sprint("p", i), Kind: string("abc"[i%3])})
		}
		pass(time.Second)
		wants(t, "sorted", len(d.on("sorted")), 10)
		wants(t, "rejected", len(d.on("rejected")), 20)
		sum := one.h.Counts()["route"].Sent + two.h.Counts()["route"].Sent
		wants(t, "parcels seen", sum, 30)
		for _, x := range []*instance{one, two} {
			if c := x.h.Counts()["route"]; c.Done != 4 || c.Received != c.Sent+4 {
				t.Errorf("the rules are not in the accounts: %v", c)
			}
		}
		wants(t, "dead", d.on("dead"), []sent{})
	})
}

// Two flows on one broker that follow one topic each have all of it, and each all of the parcels.
func TestLaw13FollowersDoNotShare(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		d.put("rules", rule{"a", "sorted"})
		north, south := d.start("north", &ruled{}), d.start("south", &ruled{})
		d.put("arrivals", parcel{ID: "p", Kind: "a"})
		pass(time.Second)
		for _, x := range []*instance{north, south} {
			wants(t, "accounts", x.h.Counts()["route"], "received=2 sent=1 done=1")
		}
		got := d.ids("sorted")
		if len(got) != 2 || got[0] == got[1] {
			t.Errorf("sorted %v: the flows share an id", got)
		}
	})
}

// slowRule makes the rule of that kind wait for a minute, as one does whose store is down.
func slowRule(kind string) func(channel.Message[rule]) error {
	var mu sync.Mutex
	var since time.Time
	return func(m channel.Message[rule]) error {
		mu.Lock()
		defer mu.Unlock()
		if since.IsZero() {
			since = time.Now()
		}
		if m.Body.Kind == kind && time.Since(since) < time.Minute {
			return channel.Later(errFlaky, 10*time.Second)
		}
		return nil
	}
}

// Until the rules are caught up nothing else happens: no message is taken, no body handed in, no source heard,
// no clock fired, no key released; and nothing of it is lost. Breaks if a single one of these gets past.
func TestNothingHappensBeforeItHasCaughtUp(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		began := time.Now()
		var happened diary
		note := func(what string) { happened.add(fmt.Sprint(what, " after ", time.Since(began).Round(time.Second))) }
		clock := &channel.Timer{
			Due: func(_ context.Context, r channel.DueRequest) (channel.Due, error) {
				if r.All {
					return channel.Due{}, nil
				}
				note("the clock is asked")
				return channel.Due{Changed: make(chan struct{})}, nil
			},
			Fire: func(context.Context, string, string) (channel.Result, error) {
				note("released")
				return channel.Done(), nil
			},
		}
		src := &speaker{}
		d.put("rules", rule{"a", "sorted"}, rule{"b", "sorted"})
		x := d.start("f", &ruled{learn: slowRule("a"), clock: clock}, flow.Source("source", src))
		d.put("arrivals", parcel{ID: "p", Kind: "a"}) // after Start: it must not be missed
		feed := must(flow.Into(x.h, arrivals))(t)
		var all sync.WaitGroup
		for what, act := range map[string]func() error{
			"fed":     func() error { return feed(t.Context(), "fed", parcel{ID: "fed", Kind: "b"}) },
			"said":    func() error { return src.say(t.Context(), parcel{ID: "said"}) },
			"Release": func() error { return x.h.Release("route", "key") },
			"fed in vain": func() error {
				ctx, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				if err := feed(ctx, "vain", parcel{}); !errors.Is(err, context.DeadlineExceeded) {
					return fmt.Errorf("got %w", err)
				}
				return nil
			},
		} {
			all.Go(func() {
				if err := act(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				note(what)
			})
		}
		self := must(flow.Into(x.h, rules))(t) // what is caught up with waits for nothing
		if err := self(t.Context(), "c", rule{"c", "sorted"}); err != nil {
			t.Error(err)
		}
		pass(59 * time.Second)
		wants(t, "after 59 s", happened.read(), []string{"fed in vain after 1s"})
		wants(t, "accounts", x.h.Counts()["route"], "received=3 done=2 in flight=1 later=6")
		pass(2 * time.Second)
		all.Wait()
		got := happened.read()
		slices.Sort(got)
		wants(t, "in the end", got, []string{
			"Release after 1m0s", "fed after 1m0s", "fed in vain after 1s", "released after 1m0s", "said after 1m0s", "the clock is asked after 1m0s",
		})
		wants(t, "sorted", len(d.on("sorted")), 2)
	})
}

// A speaker is a source that says what it is told to.
type speaker struct {
	emit func(context.Context, channel.Result) error
}

func (s *speaker) Open(emit func(context.Context, channel.Result) error) { s.emit = emit }
func (*speaker) Shape() channel.Shape {
	return channel.Shape{Outlets: []channel.Outlet{channel.Out("said", channel.Topic[parcel]("spoken"))}}
}

func (s *speaker) say(ctx context.Context, p parcel) error {
	return s.emit(ctx, channel.Send(channel.To(channel.Topic[parcel]("spoken"), p)))
}

// A rule that nobody can use dies once in each instance, under one id, and keeps nobody waiting.
func TestAPoisonedBroadcastDiesInEveryInstance(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		bad := func(m channel.Message[rule]) error {
			if m.Body.Kind == "bad" {
				return errFlaky
			}
			return nil
		}
		d.put("rules", rule{"bad", "?"}, rule{"a", "sorted"})
		one, two := d.start("f", &ruled{learn: bad}), d.start("f", &ruled{learn: bad})
		d.put("arrivals", parcel{ID: "p", Kind: "a"})
		pass(1500 * time.Millisecond)
		wants(t, "sorted while a rule is tried again", len(d.on("sorted")), 0)
		pass(time.Second)
		wants(t, "sorted", len(d.on("sorted")), 1)
		wants(t, "dead", d.ids("dead"), []string{"bad to ?", "bad to ?"})
		letter := d.on("dead")[0]
		wants(t, "the letter", []string{letter.Headers[flow.DeadScope], letter.Headers[flow.DeadTopic], letter.Headers[flow.DeadAttempts]}, []string{"f/route", "rules", "3"})
		for _, x := range []*instance{one, two} {
			if c := x.h.Counts()["route"]; c.Dead != 1 || c.Done != 1 || c.Retries != 2 {
				t.Errorf("accounts %v", c)
			}
		}
		m := message.NewMessage(letter.ID, []byte(`{"Kind":"b","To":"sorted"}`))
		maps.Copy(m.Metadata, letter.Headers)
		if err := one.h.PutBack(t.Context(), m); err != nil { // mended, for this instance
			t.Error(err)
		}
		wants(t, "put back", one.known()["b"]+two.known()["b"], "sorted")
	})
}

// Stopped while it catches up it ends at once, gives back what waits, lets go of who waits at its doors, and
// has taken nothing of the rest.
func TestStoppedWhileItCatchesUp(t *testing.T) {
	for name, end := range map[string]func(x *instance) error{
		"stop":  func(x *instance) error { x.h.Stop(); return nil },
		"drain": func(x *instance) error { return x.h.Drain(context.Background()) },
		"drain in a hurry": func(x *instance) error {
			ctx, stop := context.WithTimeout(context.Background(), time.Second)
			defer stop()
			if err := x.h.Drain(ctx); x.h.Counts()["route"].Returned > 0 && !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("draining gave %w", err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyDepot(t, func(t *testing.T, d *depot) {
				d.put("rules", rule{"a", "sorted"})
				d.put("arrivals", parcel{ID: "p", Kind: "a"})
				x := d.start("f", &ruled{learn: slowRule("a")})
				feed := must(flow.Into(x.h, arrivals))(t)
				fed := make(chan error, 1)
				var let time.Time
				go func() {
					err := feed(context.Background(), "fed", parcel{Kind: "a"})
					let = time.Now()
					fed <- err
				}()
				pass(5 * time.Second)
				began := time.Now()
				if err := end(x); err != nil {
					t.Error(err)
				}
				if took, most := time.Since(began), map[string]time.Duration{"drain": time.Minute, "drain in a hurry": time.Second}[name]; took > most {
					t.Errorf("it took %v", took)
				}
				if err := <-fed; !errors.Is(err, channel.ErrStopped) || !let.Equal(began) {
					t.Errorf("feeding gave %v after %v", err, let.Sub(began))
				}
				x.stop()
				wants(t, "sorted", len(d.on("sorted")), 0)
				again := d.start("f", &ruled{})
				pass(time.Minute) // a router's broker gives back what its handlers held
				wants(t, "known", again.known(), map[string]string{"a": "sorted"})
				wants(t, "sorted by the next", len(d.on("sorted")), 1)
			})
		})
	}
}

// Stop waits for what is being caught up with, as for everything that is worked on.
func TestStopWaitsWhileItCatchesUp(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		d.put("rules", rule{"a", "sorted"})
		x := d.start("f", &ruled{learn: func(channel.Message[rule]) error {
			time.Sleep(10 * time.Second)
			return nil
		}})
		pass(time.Second)
		began := time.Now()
		x.h.Stop()
		wants(t, "it took", time.Since(began), 9*time.Second)
		wants(t, "accounts", x.h.Counts()["route"], "received=1 done=1")
	})
}

// A drain that would fire what a clock keeps until the end, by rules that are not known yet, says so instead.
func TestDrainFiresNothingBeforeItHasCaughtUp(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		fired := false
		clock := &channel.Timer{
			AtEnd: true,
			Due: func(context.Context, channel.DueRequest) (channel.Due, error) {
				return channel.Due{Keys: []string{"k"}, Changed: make(chan struct{})}, nil
			},
			Fire: func(context.Context, string, string) (channel.Result, error) {
				fired = true
				return channel.Done(), nil
			},
		}
		f := mustNew(t, "f", quick(), flow.Step("route", arrivals, &ruled{clock: clock}))
		h, stop := d.driver.Launch(t, f, d.wire, stuckFollower{d.broker.Subscriber("f")})
		defer stop()
		pass(time.Second)
		if err := h.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "draining: what every instance reads was not caught up yet") {
			t.Errorf("got %v", err)
		}
		if fired {
			t.Error("the clock was fired")
		}
	})
}

// handed hands out messages whose contexts never end, and follows in memory.
type handed struct {
	*hand

	follower message.Subscriber
}

func (h handed) Group(name string) message.Subscriber {
	if name == "" {
		return h.follower
	}
	return h.hand
}

// A router that closes before the flow has caught up is not held up by it: what its handlers hold goes back.
func TestARouterClosesWhileItsFlowCatchesUp(t *testing.T) {
	for name, end := range map[string]func(r *message.Router, cancel func()) error{
		"it is closed":      func(r *message.Router, _ func()) error { return r.Close() },
		"its context ended": func(_ *message.Router, cancel func()) error { cancel(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &memory.Broker{Keep: []string{"rules"}}
				defer b.Close()
				d := &depot{&wire{to: b.Publisher()}, t, leattest.Router, b}
				d.put("rules", rule{"a", "sorted"})
				f := mustNew(t, "f", quick(), flow.Step("route", arrivals, &ruled{learn: slowRule("a")}))
				r := message.NewDefaultRouter(watermill.NopLogger{})
				hand := newHand()
				h := must(f.AddTo(r, d.wire, handed{hand, b.Subscriber("")}))(t)
				over := make(chan error, 1)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go func() { over <- r.Run(ctx) }()
				<-r.Running()
				m := hand.give("arrivals", "p", `{"ID":"p","Kind":"a"}`)
				pass(5 * time.Second)
				began := time.Now()
				if err := errors.Join(end(r, cancel), <-over); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("it took %v", took)
				}
				if err := h.Err(); err != nil {
					t.Errorf("the flow calls it a failure: %v", err)
				}
				h.Stop()
				balanced(t, h)
				wants(t, "the message", fate(m), "given back")
				wants(t, "accounts", h.Counts()["route"], "received=0 later=1 returned=1")
			})
		})
	}
}

// Whoever cannot follow says so by name: at start where that can be known, else as the flow's end.
func TestWhoCannotFollow(t *testing.T) {
	f := mustNew(t, "f", quick(), flow.Step("route", arrivals, &ruled{}))
	b := &memory.Broker{}
	defer b.Close()
	for how, start := range map[string]func(sub message.Subscriber) (*flow.Handle, error){
		"Start": func(sub message.Subscriber) (*flow.Handle, error) {
			return f.Start(context.Background(), b.Publisher(), sub)
		},
		"AddTo": func(sub message.Subscriber) (*flow.Handle, error) {
			return f.AddTo(message.NewDefaultRouter(watermill.NopLogger{}), b.Publisher(), sub)
		},
	} {
		_, err := start(plainSub{b.Subscriber("f")})
		if err == nil {
			t.Fatalf("%s: a plain subscriber follows", how)
		}
		for _, want := range []string{"flow f: step route reads topic rules in every instance (Broadcast)", "flow_test.plainSub", "adapters.Follower"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", how, err, want)
			}
		}
	}
	r := message.NewDefaultRouter(watermill.NopLogger{})
	h := must(f.AddTo(r, b.Publisher(), b.Subscriber("f")))(t)
	defer h.Stop()
	if _, err := f.AddTo(r, b.Publisher(), b.Subscriber("f")); err == nil || !strings.Contains(err.Error(), "added twice") {
		t.Errorf("added twice: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{} // which does not keep the rules
		defer b.Close()
		err := f.Run(t.Context(), b.Publisher(), b.Subscriber("f"))
		if err == nil || !strings.Contains(err.Error(), `flow f: reading [rules] in every instance: following topic "rules"`) {
			t.Errorf("got %v", err)
		}
	})
}

// stuckFollower never gets anywhere.
type stuckFollower struct{ *memory.Subscriber }

func (s stuckFollower) Group(name string) message.Subscriber {
	g := s.Subscriber.Group(name)
	if own, ok := g.(*memory.Subscriber); ok && name == "" {
		return stuckFollower{own}
	}
	return g
}

func (stuckFollower) Follow(ctx context.Context, _ []string, _ func(adapters.Claim), _ func()) error {
	<-ctx.Done()
	return nil
}

// lostFollower ends by itself.
type lostFollower struct {
	*memory.Subscriber

	late bool // once it is caught up
}

func (l lostFollower) Group(name string) message.Subscriber {
	g := l.Subscriber.Group(name)
	if own, ok := g.(*memory.Subscriber); ok && name == "" {
		return lostFollower{own, l.late}
	}
	return g
}

func (l lostFollower) Follow(_ context.Context, _ []string, _ func(adapters.Claim), caughtUp func()) error {
	if l.late {
		caughtUp()
		time.Sleep(time.Minute)
	}
	return errFlaky
}

// What ends by itself, while it catches up or later, ends the flow: stale rules are no rules.
func TestAFollowerThatEndsEndsTheFlow(t *testing.T) {
	for _, late := range []bool{false, true} {
		everyDepot(t, func(t *testing.T, d *depot) {
			f := mustNew(t, "f", quick(), flow.Step("route", arrivals, &ruled{}))
			h, stop := d.driver.Launch(t, f, d.wire, lostFollower{d.broker.Subscriber("f"), late})
			defer stop()
			<-h.Done()
			if err := h.Err(); !errors.Is(err, errFlaky) || !strings.Contains(err.Error(), "[rules] in every instance") {
				t.Errorf("late %v: got %v", late, err)
			}
		})
	}
}

// A message that is read in every instance is traced along its arrow, and says no group.
func TestTraceOfABroadcast(t *testing.T) {
	everyDepot(t, func(t *testing.T, d *depot) {
		traces := &leattest.Traces{}
		d.put("rules", rule{"a", "sorted"})
		f := mustNew(t, "f", quick(), flow.Step("route", arrivals, &ruled{}), flow.Tracing(traces.Config()))
		_, stop := d.driver.Launch(t, f, d.wire, d.broker.Subscriber("f"))
		d.put("arrivals", parcel{ID: "p", Kind: "a"})
		pass(time.Second)
		stop()
		traces.Check(t, f)
		compareTree(t, traces.Spans(), `
process arrivals @route = sent
	send sorted @route
process rules @route = done
`)
		for _, s := range traces.Spans() {
			if group := s.Get("messaging.consumer.group.name"); strings.HasPrefix(s.Name, "process") && (group != "") != (s.Name == "process arrivals") {
				t.Errorf("%s is of group %q", s.Name, group)
			}
		}
		want := flow.Edge{From: "topic rules", To: "step route", Link: flow.LinkEvery, Name: "rules"}
		if !slices.Contains(f.Edges(), want) {
			t.Errorf("not drawn: %v", f.Edges())
		}
	})
}

// The stepper has one instance and no follower.
func TestAStepperFollowsNothing(t *testing.T) {
	f := mustNew(t, "f", quick(), flow.Step("route", arrivals, &ruled{}))
	_, err := f.Stepper(&wire{to: nowhere{}}).Arrive("rules", message.NewMessage("1", nil))
	if !errors.Is(err, channel.ErrNotCarried) {
		t.Errorf("got %v", err)
	}
}
