package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// What the tests send.
type parcel struct {
	ID   string
	Kind string
	N    int
}

type sticker struct {
	Parcel string
	N      int
}

const (
	arrivals channel.Topic[parcel]  = "arrivals"
	sorted   channel.Topic[parcel]  = "sorted"
	rejected channel.Topic[parcel]  = "rejected"
	stickers channel.Topic[sticker] = "stickers"
	dead     channel.Topic[[]byte]  = "dead"
)

var (
	errFlaky = errors.New("flaky")
	errWire  = errors.New("the wire is cut")
)

// quick is a policy without pauses worth mentioning, three attempts, a dead letter.
func quick() flow.Policy { return flow.Policy{Backoff: flow.Fixed(time.Second), DeadLetter: dead} }

func stick(p parcel) (sticker, error) { return sticker{p.ID, p.N}, nil }

func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// mustNew makes a flow that logs nothing.
func mustNew(t testing.TB, name string, parts ...flow.Part) *flow.Flow {
	t.Helper()
	f, err := flow.New(name, append([]flow.Part{flow.Logger(silent())}, parts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The ways to drive a flow. What holds must hold for each.
const (
	claims   = "run"               // the engine, by claims and batches
	oneByOne = "run, one by one"   // the engine, on any Watermill subscriber and publisher
	routed   = "router"            // a Watermill router
	goChan   = "gochannel"         // the engine, on Watermill's GoChannel
	goRouted = "gochannel, router" // where a block has many goroutines
)

// everyWay runs a test under every driver, in virtual time.
func everyWay(t *testing.T, test func(t *testing.T, how string), ways ...string) {
	t.Helper()
	if len(ways) == 0 {
		ways = []string{claims, oneByOne, routed, goChan}
	}
	for _, how := range ways {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, how) })
		})
	}
}

// A sent is a message that was published.
type sent struct {
	Topic, ID, Key, Payload string
	Headers                 map[string]string
}

// A wire stands between a flow and its broker: it notes what got through and fails what it is told to.
type wire struct {
	to   message.Publisher
	fail func(topic, id string, try int) error // nil: nothing fails

	mu    sync.Mutex
	tries map[string]int
	got   []sent
}

func (w *wire) refuses(topic, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tries == nil {
		w.tries = map[string]int{}
	}
	w.tries[topic+" "+id]++
	if w.fail == nil {
		return nil
	}
	return w.fail(topic, id, w.tries[topic+" "+id])
}

func (w *wire) note(s sent) {
	delete(s.Headers, channel.HeaderKey)
	w.mu.Lock()
	w.got = append(w.got, s)
	w.mu.Unlock()
}

// on gives what got through to a topic, in order.
func (w *wire) on(topic string) (out []sent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.got {
		if s.Topic == topic {
			out = append(out, s)
		}
	}
	return out
}

// Publish is Watermill's, one message at a time.
func (w *wire) Publish(topic string, ms ...*message.Message) error {
	for _, m := range ms {
		if err := w.refuses(topic, m.UUID); err != nil {
			return err
		}
		s := sent{topic, m.UUID, m.Metadata[channel.HeaderKey], string(m.Payload), map[string]string{}}
		maps.Copy(s.Headers, m.Metadata)
		if err := w.to.Publish(topic, m); err != nil {
			return err
		}
		w.note(s)
	}
	return nil
}

func (w *wire) Close() error { return nil }

var errBehind = errors.New("behind one that failed")

// A batchWire publishes in batches.
type batchWire struct{ *wire }

func (w batchWire) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	var cut, pass []*adapters.Outgoing
	for _, o := range outs {
		behind := slices.ContainsFunc(cut, func(c *adapters.Outgoing) bool { return c.Topic == o.Topic && c.Key == o.Key })
		if o.Err = w.refuses(o.Topic, o.ID); o.Err == nil && behind {
			o.Err = errBehind
		}
		if o.Err != nil {
			cut = append(cut, o)
		} else {
			pass = append(pass, o)
		}
	}
	if len(cut) > 0 {
		done(cut)
	}
	if len(pass) == 0 {
		return
	}
	w.to.(adapters.BatchPublisher).Send(pass, func(outs []*adapters.Outgoing) {
		for _, o := range outs {
			if o.Err != nil {
				continue
			}
			s := sent{o.Topic, o.ID, o.Key, string(o.Payload), map[string]string{}}
			maps.Insert(s.Headers, o.Headers.All())
			w.note(s)
		}
		done(outs)
	})
}

// plainSub is a subscriber that can no more than Watermill asks.
type plainSub struct{ message.Subscriber }

// A rig is a flow that runs.
type rig struct {
	*wire

	T      *testing.T
	How    string
	Broker *memory.Broker // nil: a new one

	pub  message.Publisher // the broker's own end
	flow *flow.Flow
	h    *flow.Handle
	stop func() // may be called again
}

// newRig runs a flow "f" of the parts.
func newRig(t *testing.T, how string, parts ...flow.Part) *rig {
	t.Helper()
	r := &rig{T: t, How: how, wire: &wire{}}
	return r.run(mustNew(t, "f", parts...))
}

// run runs the flow until the test ends, and looks at its accounts then.
func (r *rig) run(f *flow.Flow) *rig {
	r.T.Helper()
	var sub message.Subscriber
	if r.wire == nil {
		r.wire = &wire{}
	}
	if r.How == goChan || r.How == goRouted {
		g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1000, Persistent: true}, watermill.NopLogger{})
		r.T.Cleanup(func() { g.Close() })
		r.pub, sub = g, g
	} else {
		if r.Broker == nil {
			r.Broker = &memory.Broker{}
			r.T.Cleanup(func() { r.Broker.Close() })
		}
		r.pub, sub = r.Broker.Publisher(), r.Broker.Subscriber(f.Name())
	}
	r.to, r.flow = r.pub, f
	var pub message.Publisher = batchWire{r.wire}
	if r.How != claims {
		pub = r.wire
	}
	if r.How == oneByOne || r.How == routed {
		sub = plainSub{sub}
	}
	var once sync.Once
	if r.How == routed || r.How == goRouted {
		w := message.NewDefaultRouter(watermill.NopLogger{})
		r.h = must(f.AddTo(w, pub, sub))(r.T)
		over := make(chan error, 1)
		go func() { over <- w.Run(context.Background()) }()
		<-w.Running()
		r.stop = func() {
			once.Do(func() {
				if err := errors.Join(w.Close(), <-over); err != nil {
					r.T.Error("router:", err)
				}
				r.h.Stop()
			})
		}
	} else {
		r.h = must(f.Start(context.Background(), pub, sub))(r.T)
		r.stop = func() { once.Do(r.h.Stop) }
	}
	r.T.Cleanup(func() {
		r.stop()
		balanced(r.T, r.h)
	})
	return r
}

// balanced checks the accounts of a flow at rest.
func balanced(t testing.TB, h *flow.Handle) {
	t.Helper()
	for name, c := range h.Counts() {
		if !c.Balanced() || c.InFlight != 0 {
			t.Errorf("step %s is not balanced at rest: %v", name, c)
		}
	}
}

// must fails the test on an error.
func must[V any](v V, err error) func(testing.TB) V {
	return func(t testing.TB) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// give publishes a parcel to a topic, as its sender would. Headers: name, value, name, value.
func (r *rig) give(topic, key string, p parcel, headers ...string) {
	r.T.Helper()
	r.giveRaw(topic, p.ID, key, must(json.Marshal(p))(r.T), headers...)
}

func (r *rig) giveRaw(topic, id, key string, payload []byte, headers ...string) {
	r.T.Helper()
	m := message.NewMessage(id, payload)
	if key != "" {
		m.Metadata[channel.HeaderKey] = key
	}
	for i := 0; i < len(headers); i += 2 {
		m.Metadata[headers[i]] = headers[i+1]
	}
	if err := r.pub.Publish(topic, m); err != nil {
		r.T.Fatal(err)
	}
}

// wait lets virtual time pass.
func (*rig) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// count gives the accounts of a step.
func (r *rig) count(step string) flow.Counts { return r.h.Counts()[step] }

// is checks the accounts of a step, as Counts.String gives them.
func (r *rig) is(step, want string) {
	r.T.Helper()
	if got := r.count(step).String(); got != want {
		r.T.Errorf("step %s\n got %s\nwant %s", step, got, want)
	}
}

// A hand is a subscriber that hands out what a test gives it, so that the test sees what becomes of
// each message.
type hand struct {
	mu    sync.Mutex
	ways  map[string]chan *message.Message
	ended chan struct{}
	once  sync.Once
}

func newHand() *hand {
	return &hand{ways: map[string]chan *message.Message{}, ended: make(chan struct{})}
}

func (h *hand) way(topic string) chan *message.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ways[topic] == nil {
		h.ways[topic] = make(chan *message.Message, 100)
	}
	return h.ways[topic]
}

func (h *hand) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, out := h.way(topic), make(chan *message.Message)
	go func() {
		defer close(out)
		for {
			select {
			case m := <-in:
				select {
				case out <- m:
				case <-ctx.Done():
					return
				case <-h.ended:
					return
				}
			case <-ctx.Done():
				return
			case <-h.ended:
				return
			}
		}
	}()
	return out, nil
}

func (h *hand) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}

// give hands out a message and returns it.
func (h *hand) give(topic, id, payload string) *message.Message {
	m := message.NewMessage(id, []byte(payload))
	h.way(topic) <- m
	return m
}

// fate says what became of a message that was handed out.
func fate(m *message.Message) string {
	select {
	case <-m.Acked():
		return "acknowledged"
	case <-m.Nacked():
		return "given back"
	default:
		return "open"
	}
}

// A diary notes what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	d.lines = append(d.lines, line)
	d.mu.Unlock()
}

func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// block makes a block of a function, as an author of blocks would.
type block[T any] struct {
	process func(m channel.Message[T]) (channel.Result, error)
	shape   channel.Shape
}

func (b block[T]) Process(m channel.Message[T]) (channel.Result, error) { return b.process(m) }
func (b block[T]) Shape() channel.Shape                                 { return b.shape }

// guardian makes an interceptor of a function.
type guardian struct {
	enter func(e *channel.Envelope) (channel.Result, channel.Exit, error)
	shape channel.Shape
}

func (g guardian) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) { return g.enter(e) }

func (g guardian) Shape() channel.Shape { return g.shape }
