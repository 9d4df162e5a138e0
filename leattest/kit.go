package leattest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
)

// A Kit is a flow under test: it runs on its own engine, on a World instead of a broker, in the virtual
// time of testing/synctest, where a timeout of an hour takes no time. Over direct hops bodies go through
// their codec, as over a broker. A flow that is ExactlyOnce runs at least once: a World has no
// transactions.
//
// When the test is over, what is in flight is waited for, for an hour of virtual time, and the flow is
// drained. Then the test fails if the accounting of a step does not balance, if a message is left, if
// there is a dead letter that it never asked for, or if its traces are not whole (see Traces.Check).
type Kit struct {
	// World is what the flow runs on. Its topics are physical: with the flow's Prefix.
	World *World
	// Handle controls the flow.
	Handle *flow.Handle
	// Traces has every span and measurement of the flow, unless its own flow.Tracing names providers.
	Traces *Traces

	t       testing.TB
	flow    *flow.Flow
	traced  bool
	seen    int // dead letters the test knows of
	drained bool
}

// Run tests a flow in a bubble of its own. The flow's stores must not have been used before, and are not
// used after.
//
//	leattest.Run(t, f, func(k *leattest.Kit) {
//		leattest.Send(k, Incoming, "1", Order{Region: "EU"})
//		invoices := leattest.Got(k, Invoices)
//		…
//	})
func Run(t *testing.T, f *flow.Flow, test func(k *Kit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(Start(t, f)) })
}

// Start is Run for a test that is in a bubble of testing/synctest already.
func Start(t testing.TB, f *flow.Flow) *Kit {
	t.Helper()
	f.RoundTrip()
	f.AtLeastOnce()
	k := &Kit{World: &World{}, Traces: &Traces{}, t: t, flow: f}
	k.traced = f.Observe(k.Traces.Config())
	i := k.World.Instance(0, false)
	h, err := f.Start(context.WithoutCancel(t.Context()), i, i)
	if err != nil {
		t.Fatalf("starting flow %s: %v", f.Name(), err)
	}
	k.Handle = h
	t.Cleanup(func() {
		k.end()
		i.Kill()
	})
	synctest.Wait()
	return k
}

// Send publishes a message on a topic that the flow reads, and returns when everything has happened that
// can without time passing. Headers are given as name, value, name, value; channel.HeaderKey sets the
// key. To a direct topic it hands the body as flow.Into does, without headers, and time passes as its
// retries need it.
func Send[T any](k *Kit, topic channel.Topic[T], id string, body T, headers ...string) {
	k.t.Helper()
	physical := k.flow.Physical(string(topic))
	if !slices.Contains(reads(k.flow), physical) {
		k.feed(func() error {
			feed, err := flow.Into(k.Handle, topic)
			if err != nil {
				return err
			}
			return feed(k.t.Context(), id, body)
		}, headers)
		return
	}
	var e channel.Envelope
	e.Arrive(&channel.Arrival{Topic: string(topic), ID: id, Codecs: k.flow.Codecs(), Body: body, HasBody: true})
	payload, err := e.Payload()
	if err != nil {
		k.t.Fatalf("sending %s: %v", id, err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "traceparent" {
			k.Traces.From(headers[i+1])
		}
	}
	k.World.Put(physical, id, string(payload), headers...)
	synctest.Wait()
}

// reads gives the physical topics that a flow reads.
func reads(f *flow.Flow) (topics []string) {
	for _, u := range f.Topics() {
		if len(u.Reads)+len(u.Follows) > 0 {
			topics = append(topics, u.Topic)
		}
	}
	return topics
}

func (k *Kit) feed(f func() error, headers []string) {
	k.t.Helper()
	if len(headers) > 0 {
		k.t.Fatalf("headers %q: what is sent to a direct topic has none", headers)
	}
	if err := f(); err != nil {
		k.t.Fatal(err)
	}
	synctest.Wait()
}

// Got gives the bodies of everything the flow has sent to a topic, in order. A tombstone is a zero body.
func Got[T any](k *Kit, topic channel.Topic[T]) (bodies []T) {
	k.t.Helper()
	if !k.sends(string(topic)) {
		k.t.Fatalf("flow %s sends nothing to topic %s over the broker: its edges are\n%s", k.flow.Name(), topic, k.edges())
	}
	for _, m := range k.Log(string(topic)) {
		e := channel.NewEntry(m.UUID, "", fields(m), m.Payload).On(string(topic), k.flow.Codecs())
		b, err := channel.Body[T](e)
		if err != nil {
			k.t.Fatalf("message %s: %v", m.UUID, err)
		}
		bodies = append(bodies, b)
	}
	return bodies
}

func fields(m *message.Message) (fs channel.Fields) {
	for name, value := range m.Metadata {
		fs = append(fs, channel.Field{Name: name, Value: value})
	}
	return fs
}

// sends reports whether an edge of the flow leads to the topic.
func (k *Kit) sends(topic string) bool {
	for _, e := range k.flow.Edges() {
		if to, ok := strings.CutPrefix(e.To, "topic "); ok && channel.MatchTopic(to, topic) {
			return true
		}
	}
	return false
}

func (k *Kit) edges() string {
	var b strings.Builder
	for _, e := range k.flow.Edges() {
		b.WriteString("\t" + e.String() + "\n")
	}
	return b.String()
}

// Log gives the messages that were published on a topic of the flow.
func (k *Kit) Log(topic string) []*message.Message { return k.World.Log(k.flow.Physical(topic)) }

// Wait lets time pass: for retries, timeouts, expiries.
func (k *Kit) Wait(d time.Duration) {
	pass(k.t.Context(), d)
	synctest.Wait()
}

// Counts gives the accounting of every step, by its name.
func (k *Kit) Counts() map[string]flow.Counts { return k.Handle.Counts() }

// A Letter is a dead letter.
type Letter struct {
	ID, Key string
	Step    string // where it failed
	Class   string // see flow.DeadClass
	Error   string
	Payload []byte // as it came
	Message *message.Message
}

// Dead gives the dead letters so far. From then on the test knows of them.
func (k *Kit) Dead() []Letter {
	ls := k.letters()
	k.seen = len(ls)
	return ls
}

func (k *Kit) letters() (ls []Letter) {
	var topics []string
	for _, e := range k.flow.Edges() {
		if topic, ok := strings.CutPrefix(e.To, "topic "); ok && e.Link == flow.LinkError && !slices.Contains(topics, topic) {
			topics = append(topics, topic)
		}
	}
	for _, topic := range topics {
		for _, m := range k.Log(topic) {
			ls = append(ls, Letter{
				ID: m.UUID, Key: keyOf(m), Step: m.Metadata[flow.DeadStep], Class: m.Metadata[flow.DeadClass],
				Error: m.Metadata[flow.DeadError], Payload: m.Payload, Message: m,
			})
		}
	}
	return ls
}

// patience is how long the end of a test waits for what is in flight, in virtual time.
const patience = time.Hour

// Drain waits for what is in flight, an hour at most, and drains the flow: it takes nothing more, and
// clocks that say AtEnd fire. The end of the test does it; do it before to look at what comes of it.
func (k *Kit) Drain() {
	k.t.Helper()
	if k.drained {
		return
	}
	k.drained = true
	forever := context.WithoutCancel(k.t.Context()) // the end of the test is not the end of its time
	for pause, over := time.Millisecond, time.Now().Add(patience); time.Now().Before(over) && !k.quiet(); pause = min(2*pause, time.Minute) {
		pass(forever, pause)
	}
	if left := k.World.Left(); len(left) > 0 {
		k.t.Errorf("messages are left on the broker: %s", strings.Join(left, ", "))
	}
	ctx, cancel := context.WithTimeout(forever, patience)
	defer cancel()
	if err := k.Handle.Drain(ctx); err != nil {
		k.t.Errorf("%v after %v", err, patience)
	}
}

// quiet reports whether nothing is in flight and nothing waits on the broker.
func (k *Kit) quiet() bool {
	synctest.Wait()
	for _, c := range k.Counts() {
		if c.InFlight != 0 {
			return false
		}
	}
	return len(k.World.Left()) == 0
}

func (k *Kit) end() {
	k.t.Helper()
	k.Drain()
	for name, c := range k.Counts() {
		if !c.Balanced() || c.InFlight != 0 {
			k.t.Errorf("accounting of step %s does not balance: %v", name, c)
		}
	}
	letters := k.letters()
	for _, l := range letters[min(k.seen, len(letters)):] {
		k.t.Errorf("dead letter %s, from step %s: %s (%s); a test that expects it asks for it with Dead", l.ID, l.Step, l.Error, l.Class)
	}
	if k.traced {
		k.trace()
	}
}

// trace judges the traces and the measurements.
func (k *Kit) trace() {
	k.t.Helper()
	k.Traces.Check(k.t, k.flow)
	k.Traces.Accounts(k.t, k.flow)
	for name, c := range k.Counts() {
		retries := 0
		for _, s := range k.Traces.Of(k.flow, name) {
			retries += s.Count(tracing.EventRetry)
		}
		if int64(retries) != c.Retries {
			k.t.Errorf("step %s tried again %d times, and its spans tell of %d", name, c.Retries, retries)
		}
	}
}
