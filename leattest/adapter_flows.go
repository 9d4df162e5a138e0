package leattest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// What a flow promises over the adapter, on its engine and on a Watermill router.
func adapterFlowCases() []adapterCase {
	patient := AdapterSettings{Drain: 10 * time.Second}
	return []adapterCase{
		{name: "flow on its engine", settings: patient, test: func(x *adapterTest) { x.testFlow(Engine) }},
		{name: "flow on a router", settings: patient, test: func(x *adapterTest) { x.testFlow(Router) }},
		{name: "flow that follows, on its engine", needs: []adapterNeed{needsOf[adapters.Follower]("Follower")}, test: func(x *adapterTest) { x.testFlowFollows(Engine) }},
		{name: "flow that follows, on a router", needs: []adapterNeed{needsOf[adapters.Follower]("Follower")}, test: func(x *adapterTest) { x.testFlowFollows(Router) }},
		{name: "traces on its engine", test: func(x *adapterTest) { x.testTraces(Engine) }},
		{name: "traces on a router", test: func(x *adapterTest) { x.testTraces(Router) }},
		{name: "poison", test: testAdapterPoison},
		{name: "flow, dead letter down", needs: []adapterNeed{needsOutage()}, test: testAdapterFlowOutage},
		{name: "flow, foreign record", needs: []adapterNeed{needsForeign()}, test: testAdapterFlowForeign},
		{name: "flow, exactly once", settings: patient, needs: []adapterNeed{needsOf[adapters.Transactor]("Transactor"), needsOf[adapters.Claims]("Claims")}, test: testAdapterExactlyOnce},
		{name: "reconnect", settings: AdapterSettings{Restarts: true}, needs: []adapterNeed{needsRestart()}, test: testAdapterReconnect},
	}
}

// An adapterFlow is a flow of two steps with a hop over the broker, and its instances.
type adapterFlow struct {
	x             *adapterTest
	name          string
	in, mid, dead string
	seen          idempotency.Memory
	do            func(m channel.Message[string]) error // nil: the effect alone
	parts         []flow.Part

	mu      sync.Mutex
	books   Ledger
	effects int
}

func (x *adapterTest) flow(in string) *adapterFlow {
	return &adapterFlow{x: x, name: x.name("flow"), in: in, mid: x.topic(2), dead: x.topic(1)}
}

// start runs one more instance, with ends of its own.
func (f *adapterFlow) start(d Driver) (fl *flow.Flow, h *flow.Handle, stop func()) {
	x := f.x
	x.Helper()
	fl, err := flow.New(f.name, append([]flow.Part{
		flow.Step("pass on", channel.Topic[string](f.in), translator.Map(func(s string) (string, error) { return s, nil }, channel.Topic[string](f.mid))),
		flow.Step("do", channel.Topic[string](f.mid), endpoint.DoMessage(f.effect), flow.Around(idempotency.Receiver{Store: &f.seen})),
		flow.Policy{Attempts: 3, Backoff: flow.Fixed(5 * time.Millisecond), DeadLetter: channel.Topic[[]byte](f.dead)},
		flow.Logger(slog.New(slog.DiscardHandler)),
	}, f.parts...)...)
	if err != nil {
		x.Fatal(err)
	}
	h, end := d.Launch(x.T, fl, x.publisher(), x.subscriber(AdapterReader{Group: f.name}))
	var once sync.Once
	stop = func() { once.Do(end) }
	x.Cleanup(stop)
	return fl, h, stop
}

func (f *adapterFlow) effect(m channel.Message[string]) error {
	if f.do != nil {
		if err := f.do(m); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.effects++
	f.books.Effect(m.Body)
	return nil
}

func (f *adapterFlow) done() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.effects
}

// bodies makes notes whose payload is their id as the codec has it.
func bodies(ms []*message.Message) []*message.Message {
	for _, m := range ms {
		m.Payload = []byte(strconv.Quote(m.UUID))
	}
	return ms
}

// Instances of a flow come and go while messages are under way: each has its effect once, in the order
// of its key, nothing dies, and every instance accounts for what it received.
func (x *adapterTest) testFlow(d Driver) {
	const rounds, each = 4, 50
	f := x.flow(x.topic(3))
	pub := f.books.Publisher(x.publisher())
	_, h, stop := f.start(d)
	handles, stops := []*flow.Handle{h}, []func(){stop}
	for round := range rounds {
		x.publish(pub, f.in, bodies(notes(each, fmt.Sprint("round-", round), keyNames(12)...))...)
		if round == 2 {
			stops[0]()
		} else {
			_, h, stop := f.start(d)
			handles, stops = append(handles, h), append(stops, stop)
		}
		x.await(fmt.Sprintf("through with half of round %d", round), func() bool { return f.done() >= (2*round+1)*each/2 })
	}
	x.await("through with everything", func() bool { return f.done() >= rounds*each })
	for _, stop := range stops {
		x.within("stopped a flow", stop)
	}
	for _, h := range handles {
		f.books.Accounts(h.Counts())
	}
	if v := f.books.Verdict(); !v.Zero() {
		x.Errorf("a flow whose instances come and go: %v", v)
	}
	x.letters(f.dead, 0)
}

// letters gives what is in a dead letter, in order; it must be n messages.
func (x *adapterTest) letters(dead string, n int) (ms []*message.Message) {
	x.Helper()
	x.publish(x.publisher(), dead, note("end", ""))
	m := x.join(dead, x.name("group"))
	for ended := false; !ended || len(ms) < n; {
		msg := m.next(fmt.Sprintf("dead letter (%d of %d), or the end of them", len(ms), n))
		msg.Ack()
		if msg.UUID == "end" {
			ended = true
		} else {
			ms = append(ms, msg)
		}
	}
	if len(ms) > n {
		x.Errorf("there are %d dead letters; want %d", len(ms), n)
	}
	m.nothing("every dead letter has come")
	return ms
}

// body reads what bodies wrote, "" if it is nothing of the kind.
func body(m *message.Message) string {
	s, _ := strconv.Unquote(string(m.Payload))
	return s
}

// A trace that begins outside goes on over both hops, and goes along every arrow of the drawing: to the
// effect, and to the dead letter.
func (x *adapterTest) testTraces(d Driver) {
	var traces Traces
	f := x.flow(x.topic(2))
	f.parts = []flow.Part{flow.Tracing(traces.Config())}
	f.do = func(m channel.Message[string]) error {
		if m.Body == "poison" {
			return channel.Permanent(errors.New("poison"))
		}
		return nil
	}
	traces.From(adapterTraceparent)
	x.publish(x.publisher(), f.in, bodies([]*message.Message{
		note("healthy", "a", "traceparent", adapterTraceparent), note("poison", "b", "traceparent", adapterTraceparent),
	})...)
	fl, h, stop := f.start(d)
	x.await("done, and dead", func() bool { c := h.Counts()["do"]; return c.Done == 1 && c.Dead == 1 })
	x.within("stopped a flow", stop)
	traces.Check(x, fl)
	for _, e := range fl.Edges() {
		if e.From == "step pass on" && e.Link == flow.LinkError { // nothing fails there
			traces.Covers(x, fl, e.String())
		}
	}
	traces.Accounts(x, fl)
	for _, s := range traces.Of(fl) {
		if want := adapterTraceparent[3:35]; s.SpanContext.TraceID().String() != want {
			x.Errorf("span %q is of trace %s; want %s, which its message came with", s.Name, s.SpanContext.TraceID(), want)
		}
		if s.Op() == tracing.OpProcess && !s.Parent.IsValid() {
			x.Errorf("span %q has no parent", s.Name)
		}
	}
	letter := x.letters(f.dead, 1)[0]
	if tp := letter.Metadata["traceparent"]; body(letter) != "poison" || !strings.HasPrefix(tp, adapterTraceparent[:36]) {
		x.Errorf("the dead letter is %q, of trace %q", body(letter), tp)
	}
}

// Poison ends in the dead letter, with its bytes and key, after its attempts. While it waits for them
// all other keys go on.
func testAdapterPoison(x *adapterTest) {
	const messages, poisoned = 100, 4
	f := x.flow(x.topic(2))
	var healthy atomic.Bool
	var tries atomic.Int64
	f.do = func(m channel.Message[string]) error {
		switch {
		case m.Key() != "poison":
			return nil
		case !healthy.Load():
			return channel.Later(errors.New("not before the others are through"), 5*time.Millisecond)
		}
		tries.Add(1)
		return errors.New("poison")
	}
	pub := f.books.Publisher(x.publisher())
	_, h, stop := f.start(Engine)
	var ids []string
	for i := range poisoned {
		id := fmt.Sprint("poison-", i)
		ids = append(ids, id)
		f.books.Poison(id)
		x.publish(pub, f.in, bodies([]*message.Message{note(id, "poison")})...)
		x.publish(pub, f.in, bodies(notes(messages/poisoned, fmt.Sprint("healthy-", i), keyNames(10)...))...)
	}
	x.await("through with what is healthy, while poison waits", func() bool { return f.done() == messages })
	healthy.Store(true)
	x.await("through with the poison", func() bool { return h.Counts()["do"].Dead == poisoned })
	x.within("stopped a flow", stop)
	if n := tries.Load(); n != 3*poisoned {
		x.Errorf("%d messages of poison are tried %d times; the policy says three times each", poisoned, n)
	}
	for i, l := range x.letters(f.dead, poisoned) {
		f.books.DeadLetter(body(l))
		if body(l) != ids[i] {
			x.Errorf("dead letter %d is %q; want %s: they have one key", i, body(l), ids[i])
		}
		if keyOf(l) != "poison" || l.Metadata[flow.DeadStep] != "do" || l.Metadata[flow.DeadAttempts] != "3" || l.Metadata[flow.DeadError] == "" || l.Metadata[flow.DeadTopic] != f.mid {
			x.Errorf("dead letter %s has key %q, and headers %v", body(l), keyOf(l), l.Metadata)
		}
	}
	f.books.Accounts(h.Counts())
	if v := f.books.Verdict(); !v.Zero() {
		x.Errorf("a flow with poison: %v", v)
	}
}

// While the dead letter is down what is to go there is not acknowledged: the flow stops and another
// instance has it again, and other keys go on all the time. When it is up, it is there, once.
func testAdapterFlowOutage(x *adapterTest) {
	f := x.flow(x.topic(1))
	f.do = func(m channel.Message[string]) error {
		if m.Body == "poison" {
			return channel.Permanent(errors.New("poison"))
		}
		return nil
	}
	f.books.Poison("poison")
	x.env.Outage(f.dead, true)
	pub := f.books.Publisher(x.publisher())
	_, h, stop := f.start(Engine)
	x.publish(pub, f.in, bodies([]*message.Message{note("poison", "")})...)
	x.await("received the poison", func() bool { return h.Counts()["do"].Received == 1 })
	for i := range 2 {
		x.publish(pub, f.in, bodies(notes(10, fmt.Sprint("healthy-", i), keyNames(10)...))...)
		x.await("through with other keys", func() bool { return f.done() == 10*(i+1) })
		if c := h.Counts()["do"]; c.Dead != 0 {
			x.Fatalf("the dead letter is down, and counted are %v", c)
		}
		if i == 0 {
			x.within("stopped a flow", stop)
			f.books.Accounts(h.Counts())
			_, h, stop = f.start(Engine)
		}
	}
	x.env.Outage(f.dead, false)
	x.await("in the dead letter", func() bool { return h.Counts()["do"].Dead == 1 })
	x.within("stopped a flow", stop)
	f.books.Accounts(h.Counts())
	f.books.DeadLetter(body(x.letters(f.dead, 1)[0]))
	if v := f.books.Verdict(); !v.Zero() {
		x.Errorf("a flow whose dead letter was down: %v", v)
	}
}

// A record that is no message goes to the flow's dead letter as it is, counts as invalid, and what is
// behind it goes on.
func testAdapterFlowForeign(x *adapterTest) {
	f := x.flow(x.topic(1))
	raw := x.env.Foreign(f.in)
	x.publish(f.books.Publisher(x.publisher()), f.in, bodies([]*message.Message{note("behind", "")})...)
	_, h, stop := f.start(Engine)
	x.await("through with what is behind", func() bool { return f.done() == 1 })
	x.deadBytes(x.letters(f.dead, 1)[0], raw, f.in)
	x.await("accounted for", func() bool { c := h.Counts()["pass on"]; return c.InFlight == 0 && c.Received == 2 })
	x.within("stopped a flow", stop)
	f.books.Accounts(h.Counts())
	if c := h.Counts()["pass on"]; c.Invalid+c.Dead != 1 {
		x.Errorf("counted are %v; want one that is invalid or dead", c)
	}
	if v := f.books.Verdict(); !v.Zero() {
		x.Errorf("a flow with a foreign record: %v", v)
	}
}

// The broker is killed and comes back under load. Publishers fail or wait, and nothing that they
// were told is published is lost; flows go on by themselves, one on its engine and one on a router.
func testAdapterReconnect(x *adapterTest) {
	const publishers, between = 3, 60
	in := x.topic(3)
	flows := []*adapterFlow{x.flow(in), x.flow(in)}
	pub := x.publisher()
	for _, f := range flows {
		pub = f.books.Publisher(pub)
	}
	var handles []*flow.Handle
	var stops []func()
	for i, d := range []Driver{Engine, Router} {
		_, h, stop := flows[i].start(d)
		handles, stops = append(handles, h), append(stops, stop)
	}
	ctx, enough := context.WithCancel(context.WithoutCancel(x.Context()))
	defer enough()
	var published, failed atomic.Int64
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				m := bodies([]*message.Message{note(fmt.Sprintf("%d-%d", p, n), fmt.Sprintf("%d-%d", p, n%3))})[0]
				for pub.Publish(in, m) != nil { // again, under the same id, until somebody says that it is there
					failed.Add(1)
					pass(ctx, 10*time.Millisecond)
				}
				published.Add(1)
				pass(ctx, 2*time.Millisecond)
			}
		})
	}
	through := func(n int64) func() bool {
		return func() bool { return int64(flows[0].done()) >= n && int64(flows[1].done()) >= n }
	}
	x.await("through with messages before the broker dies", through(between))
	x.within("restarted the broker", x.env.Restart)
	x.await("through with messages after the broker came back", through(published.Load()+between))
	enough()
	x.within("ended every publisher", all.Wait)
	x.await("through with everything", through(published.Load()))
	x.Logf("%d messages published, %d publishes failed", published.Load(), failed.Load())
	for i, f := range flows {
		x.within("stopped a flow", stops[i])
		f.books.Accounts(handles[i].Counts())
		if v := f.books.Verdict(); !v.Zero() {
			x.Errorf("the broker was killed and came back: %v", v)
		}
	}
}

// Instances of a flow that is exactly once come and go: what it sends is on its topic once for each
// message, in the order of its key.
func testAdapterExactlyOnce(x *adapterTest) {
	const rounds, each = 3, 40
	in, mid, out, dead, name := channel.Topic[string](x.topic(3)), channel.Topic[string](x.topic(2)), x.topic(1), x.topic(1), x.name("flow")
	same := func(s string) (string, error) { return s, nil }
	start := func() (stop func()) {
		f, err := flow.New(name, flow.ExactlyOnce(), flow.Step("pass on", in, translator.Map(same, mid)),
			flow.Step("out", mid, translator.Map(same, channel.Topic[string](out))),
			flow.Policy{DeadLetter: channel.Topic[[]byte](dead)}, flow.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			x.Fatal(err)
		}
		_, end := Engine.Launch(x.T, f, x.publisher(), x.subscriber(AdapterReader{Group: name}))
		var once sync.Once
		stop = func() { once.Do(end) }
		x.Cleanup(stop)
		return stop
	}
	pub, reader := x.publisher(), x.join(out, x.name("group"))
	var books Ledger
	var stops []func()
	for round := range rounds {
		x.publish(books.Publisher(pub), string(in), bodies(notes(each, fmt.Sprint("round-", round), keyNames(9)...))...)
		stops = append(stops, start())
		for i := range each {
			m := reader.next("message of a flow that is exactly once")
			books.Effect(body(m))
			m.Ack()
			if round == 1 && i == each/4 {
				x.within("stopped a flow", stops[0])
			}
		}
	}
	for _, stop := range stops {
		x.within("stopped a flow", stop)
	}
	x.publish(pub, out, bodies([]*message.Message{note("end", "")})...)
	for m := reader.next("end of what was sent"); m.UUID != "end"; m = reader.next("end of what was sent") {
		books.Effect(body(m))
		m.Ack()
	}
	if v := books.Verdict(); !v.Zero() {
		x.Errorf("a flow that is exactly once: %v", v)
	}
}
