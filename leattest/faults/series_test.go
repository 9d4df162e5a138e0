package faults_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/tracing"
)

// Whatever messages say, in ids, keys, headers, errors, drop reasons and names of topics, there are as
// many series of measurements as the flow's declaration has places, and as many names of spans. They do not
// grow, nor does memory.
func TestSeriesAreBounded(t *testing.T) {
	for _, how := range []driver{claims, routers} {
		t.Run(string(how), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { bounded(t, how) })
		})
	}
}

// kinds of what a message comes to, by its number modulo kinds.
const (
	toAnyTopic = iota
	dropped
	failing
	panicking
	done
	grouped
	expired
	invalid
	undeclared
	waiting
	kinds
)

const (
	numbers channel.Topic[int]    = "numbers"
	near    channel.Topic[int]    = "near"   // a direct hop
	pairs   channel.Topic[int]    = "pairs"  // another, to an aggregator
	paired  channel.Topic[int]    = "paired" // what it sends
	mayFail channel.Topic[[]byte] = "may.fail"
)

// A spreader does something else for each kind.
type spreader struct{ waited *sync.Map }

func (spreader) Shape() channel.Shape {
	return channel.Shape{Pattern: "Spreader", Effect: channel.Pure, Outlets: []channel.Outlet{
		channel.Out("any", channel.Topic[int]("any.*")), channel.Out("near", near), channel.Out("pairs", pairs),
		{Name: "tap", Topic: string(mayFail), Type: channel.Out("", mayFail).Type, BestEffort: true},
	}}
}

func (s spreader) Process(m channel.Message[int]) (channel.Result, error) {
	n := strconv.Itoa(m.Body)
	switch m.Body % kinds {
	case toAnyTopic:
		return channel.Send(channel.To(channel.Topic[int]("any."+n), m.Body)), nil
	case dropped:
		return channel.Drop("reason " + n), nil
	case failing:
		return channel.Result{}, errors.New("error " + n)
	case panicking:
		panic("panic " + n)
	case done:
		tap := channel.To(mayFail, []byte(n)).BestEffort()
		return channel.Send(channel.Forward(near, m), tap), nil
	case grouped:
		return channel.Send(channel.Forward(pairs, m)), nil
	case invalid:
		return channel.Result{}, fmt.Errorf("%w: %s", channel.ErrInvalid, n)
	case undeclared:
		return channel.Send(channel.To(channel.Topic[int]("nowhere."+n), m.Body)), nil
	case waiting:
		if _, waited := s.waited.LoadAndDelete(n); !waited {
			s.waited.Store(n, true)
			return channel.Result{}, channel.Later(errors.New("later "+n), time.Second)
		}
	}
	return channel.Done(), nil
}

// A sink takes everything and keeps nothing. What goes to any topic fails at first, and what goes to
// mayFail always.
type sink struct {
	mu    sync.Mutex
	tries map[string]bool
}

var errSink = errors.New("not now")

func (s *sink) take(topic, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case topic == string(mayFail):
		return errSink
	case strings.HasPrefix(topic, "any.") && !s.tries[id]:
		s.tries[id] = true
		return errSink
	}
	delete(s.tries, id)
	return nil
}

func (s *sink) Publish(topic string, ms ...*message.Message) (err error) {
	for _, m := range ms {
		err = errors.Join(err, s.take(topic, m.UUID))
	}
	return err
}

func (s *sink) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	for _, o := range outs {
		o.Err = s.take(o.Topic, o.ID)
	}
	done(outs)
}

func (*sink) Close() error { return nil }

// A namer keeps the names of spans, and the spans nowhere.
type namer struct {
	mu    sync.Mutex
	names map[string]int
}

func (*namer) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (*namer) Shutdown(context.Context) error                  { return nil }
func (*namer) ForceFlush(context.Context) error                { return nil }

func (n *namer) OnEnd(s sdktrace.ReadOnlySpan) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[s.Name()]++
}

// A gauge is a flow that is measured.
type gauge struct {
	t      *testing.T
	broker memory.Broker
	reader *sdkmetric.ManualReader
	names  namer
	next   int // message
}

func bounded(t *testing.T, how driver) {
	g := &gauge{t: t, reader: sdkmetric.NewManualReader(), names: namer{names: map[string]int{}}}
	f := g.flow()
	stop := g.start(f, how)
	defer func() {
		stop()
		if err := g.broker.Close(); err != nil {
			t.Error(err)
		}
	}()
	// Every step has an account, with seven outcomes and the reasons of its drops.
	steps := len(f.Counts())
	want := map[string]int{
		tracing.Received: steps, tracing.InFlight: steps, tracing.Released: steps, tracing.Retries: steps, tracing.Laters: steps,
		tracing.Redelivered: steps, tracing.Fired: steps, tracing.Lost: steps, tracing.Outcomes: 7 * steps,
		tracing.OpenGroups:       1, // step pair
		tracing.ConsumedMessages: 1, // numbers
		tracing.ProcessDuration:  4, // numbers: well, transient, permanent, panic; what is late has a place to go
		// any.*, well and not; may.fail, not; paired, invalid, late, dead.
		tracing.OperationDuration: 7, tracing.SentMessages: 7,
	}
	const reasons = 64 // that a step tells apart
	for _, x := range []struct{ messages, reasons int }{
		{kinds, 1}, {kinds, 2}, {10 * kinds, 12}, {5_000, reasons + 1}, {5_000, reasons + 1},
	} {
		g.send(x.messages)
		got := series(g.read())
		for name, n := range want {
			if name == tracing.Outcomes {
				n += x.reasons
			}
			if len(got[name]) != n {
				t.Errorf("after %d messages %s has %d series; want %d", g.next, name, len(got[name]), n)
			}
			delete(got, name)
		}
		for name, sets := range got { // and the backlog of the one topic, where the driver knows it
			if name != tracing.Lag || len(sets) > 1 {
				t.Errorf("%s has %d series", name, len(sets))
			}
		}
		if names := len(g.names.names); names != spanNames {
			t.Errorf("after %d messages there are %d names of spans: %v", g.next, names, g.names.names)
		}
	}
	if c := f.Counts()["spread"]; c.Received != int64(g.next) || c.InFlight != 0 || !c.Balanced() || len(c.Dropped) != reasons+1 {
		t.Errorf("accounts: %d reasons, %d received, %d sent", len(c.Dropped), c.Received, g.next)
	}
	g.flat()
}

// spanNames: process numbers, near, pairs; aggregate pair; attempt spread; send any.*, may.fail, paired,
// invalid, late, dead.
const spanNames = 11

func (g *gauge) flow() *flow.Flow {
	g.t.Helper()
	pair := &aggregator.Aggregator[int, int]{
		Correlate: strconv.Itoa, Combine: func(_ string, all []int) (int, error) { return len(all), nil },
		To: paired, Size: 2, Timeout: time.Minute, Store: &aggregator.Memory{},
	}
	f, err := flow.New("spread",
		flow.Step("spread", numbers, spreader{&sync.Map{}}, flow.Around(channel.InvalidChannel{To: "invalid"}, channel.Expiry{To: "late"},
			idempotency.Receiver{Store: &idempotency.Memory{}})),
		flow.Step("near", near, endpoint.Do(func(context.Context, int) error { return nil })),
		flow.Step("pair", pairs, pair),
		flow.Direct(near, pairs), flow.Workers(4), flow.History(), flow.Logger(quiet),
		flow.Policy{Attempts: 2, Backoff: flow.Fixed(time.Second), DeadLetter: dead},
		flow.Tracing(tracing.Config{
			TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(&g.names)),
			MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(g.reader), sdkmetric.WithCardinalityLimit(0)),
			AttemptSpans:   true,
		}))
	if err != nil {
		g.t.Fatal(err)
	}
	return f
}

func (g *gauge) start(f *flow.Flow, how driver) (stop func()) {
	g.t.Helper()
	pub, sub := &sink{tries: map[string]bool{}}, g.broker.Subscriber("spread")
	if how == claims {
		h, err := f.Start(context.Background(), pub, sub)
		if err != nil {
			g.t.Fatal(err)
		}
		return h.Stop
	}
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NopLogger{})
	if err == nil {
		_, err = f.AddTo(r, pub, sub)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := r.Run(context.Background()); err != nil {
			g.t.Errorf("running the router: %v", err)
		}
	}()
	<-r.Running()
	return func() {
		if err := r.Close(); err != nil {
			g.t.Errorf("closing the router: %v", err)
		}
		<-over
	}
}

// send sends messages of which no two have anything in common, and waits until stores have forgotten them.
func (g *gauge) send(n int) {
	g.t.Helper()
	pub := g.broker.Publisher()
	for range n {
		s := strconv.Itoa(g.next)
		m := message.NewMessage("id "+s, []byte(s))
		m.Metadata[channel.HeaderKey], m.Metadata["x"], m.Metadata["x-"+s] = "key "+s, "value "+s, "value"
		m.Metadata["traceparent"] = fmt.Sprintf("00-%032x-%016x-01", g.next+1, g.next+1)
		m.Metadata[channel.HeaderConversation] = "conversation " + s
		if g.next%kinds == expired {
			m.Metadata[channel.HeaderExpires] = "1999-01-01T00:00:00Z"
		}
		if err := pub.Publish(string(numbers), m); err != nil {
			g.t.Fatal(err)
		}
		if g.next++; g.next%1000 == 0 {
			synctest.Wait()
		}
	}
	pass(3 * 24 * time.Hour)
}

func (g *gauge) read() (rm metricdata.ResourceMetrics) {
	g.t.Helper()
	if err := g.reader.Collect(context.Background(), &rm); err != nil {
		g.t.Fatal(err)
	}
	return rm
}

// flat fails the test if messages leave something behind, each time: 8 bytes each would be too much.
func (g *gauge) flat() {
	g.t.Helper()
	const messages, each, rounds = 5_000, 8, 4
	var grew int64
	for range rounds { // maps and pools may grow once more
		before := heap()
		g.send(messages)
		if grew = heap() - before; grew <= messages*each {
			return
		}
	}
	g.t.Errorf("%d messages leave %d bytes, each time", messages, grew)
}

// heap is what is alive.
func heap() int64 {
	var m runtime.MemStats
	for range 3 { // pools live for two collections
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
