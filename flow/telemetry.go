package flow

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// Tracing says how the flow is traced and measured. Default: tracing.Config{}, by the global
// OpenTelemetry providers, free as long as nobody has set any.
func Tracing(c tracing.Config) Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "Tracing stands for the whole flow: give it to New")
			return
		}
		for name, p := range map[string]any{"TracerProvider": c.TracerProvider, "MeterProvider": c.MeterProvider, "Propagator": c.Propagator} {
			if v := reflect.ValueOf(p); v.Kind() == reflect.Pointer && v.IsNil() {
				d.flow.errs = append(d.flow.errs, d.flow.errorf("Tracing: Config.%s is a nil %T: leave it out for the global one", name, p))
			}
		}
		d.flow.tracing = c
	})
}

// A telemetry is how one run of a flow, on one broker, is traced and measured.
type telemetry struct {
	*tracing.Telemetry

	flow    *Flow
	carry   channel.Carrier
	sampled sync.Once                        // the tracer is there
	follows map[*tracing.Place]*atomic.Int32 // see Tracer.Follows: 0 not asked yet, 1 it does, 2 not
	first   sync.Once                        // the meter is there
	labels  map[*tracing.Place]*tracing.Labels
	topics  sync.Map // of a block alone: the inlets of the topics that its router reads, by name
	others  sync.Map // the labels of their places

	mu       sync.Mutex
	backlogs []tracing.Backlog // nil: over, or not begun
	unwatch  func()            // nil: nobody watches them
}

// unknown is what a Pub/Sub speaks to that does not say.
const unknown = "watermill"

// telemetry gives that of a run on the first of ends (a publisher, a subscriber) that knows what it is.
func (f *Flow) telemetry(ends ...any) *telemetry {
	system := unknown
	for _, end := range ends {
		if s, ok := adapters.As[adapters.System](end); ok {
			system = s.System()
			break
		}
	}
	t := &telemetry{Telemetry: tracing.New(f.tracing, system), flow: f}
	t.carry = t.carries
	return t
}

// carries gives what a store keeps with a member: its trace, and where it has come through.
func (t *telemetry) carries(e *channel.Envelope) (fs channel.Fields) {
	if x := t.tracer(); x != nil {
		fs = x.Carry(e.Context())
	}
	if t.flow.history > 0 && e.Cause() != nil {
		fs = append(fs, channel.Field{Name: channel.HeaderHistory, Value: t.flow.historyOf(e)})
	}
	return fs
}

// start has the accounting, and the lag of subscriptions that know it, observed from now on, or from when
// there is somebody to observe it.
func (t *telemetry) start(subs []*subscription) {
	t.flow.runs.Add(1)
	t.mu.Lock()
	for _, s := range subs {
		l, ok := adapters.As[adapters.Lagger](s.sub)
		if !ok {
			continue
		}
		for topic := range s.topics {
			t.backlogs = append(t.backlogs, tracing.Backlog{Topic: topic, Group: s.group, Read: func() int64 { return l.Lag(topic) }})
		}
	}
	t.mu.Unlock()
	if m := t.meter(); m != nil {
		t.watchBacklogs(m)
	}
}

// watchBacklogs begins to observe them.
func (t *telemetry) watchBacklogs(m *tracing.Meter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.backlogs) > 0 && t.unwatch == nil {
		t.unwatch = m.Backlogs(t.backlogs)
	}
}

// stop ends what speaks of the run alone. The accounting stays.
func (t *telemetry) stop() {
	t.flow.runs.Add(-1)
	t.mu.Lock()
	unwatch := t.unwatch
	t.unwatch, t.backlogs = nil, nil
	t.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
}

// tracer gives the tracer, nil as long as nobody would see it.
func (t *telemetry) tracer() *tracing.Tracer {
	x := t.Tracer()
	if x == nil {
		return nil
	}
	t.sampled.Do(func() {
		t.follows = map[*tracing.Place]*atomic.Int32{}
		for _, s := range t.flow.steps {
			for _, in := range s.inlets {
				if in.clock == nil && !t.flow.direct[in.topic] {
					t.follows[in.place] = &atomic.Int32{}
				}
			}
		}
	})
	return x
}

// unseen reports whether messages of unsampled traces need no span here. The sampler is asked when the first
// such message comes.
func (t *telemetry) unseen(x *tracing.Tracer, p *tracing.Place) bool {
	f := t.follows[p]
	if f == nil {
		return false
	}
	if f.Load() == 0 {
		said := int32(2)
		if x.Follows(p) {
			said = 1
		}
		f.Store(said)
	}
	return f.Load() == 1
}

// at gives the way into a block alone from the topic that its router reads, "" if it does not say.
func (t *telemetry) at(in *inlet, topic string) *inlet {
	topic = strings.TrimPrefix(topic, t.flow.prefix)
	if topic == "" || topic == in.topic {
		return in
	}
	known, ok := t.topics.Load(topic)
	if !ok {
		own := *in
		own.topic = topic
		own.place = in.step.entrance(&own)
		known, _ = t.topics.LoadOrStore(topic, &own)
	}
	return known.(*inlet) //nolint:forcetypeassert // Nothing else is stored.
}

// labelsOf gives the labels of a place.
func (t *telemetry) labelsOf(m *tracing.Meter, p *tracing.Place) *tracing.Labels {
	if l, ok := t.labels[p]; ok {
		return l
	}
	l, ok := t.others.Load(p)
	if !ok {
		l, _ = t.others.LoadOrStore(p, m.Labels(p))
	}
	return l.(*tracing.Labels) //nolint:forcetypeassert // Nothing else is stored.
}

// meter gives the meter, nil as long as nobody would see it.
func (t *telemetry) meter() *tracing.Meter {
	m := t.Meter()
	if m == nil {
		return nil
	}
	t.first.Do(func() {
		t.labels = map[*tracing.Place]*tracing.Labels{}
		for _, s := range t.flow.steps {
			for _, in := range s.inlets {
				t.labels[in.place] = m.Labels(in.place)
			}
			for i := range s.outlets {
				t.labels[s.outlets[i].place] = m.Labels(s.outlets[i].place)
			}
			t.labels[s.letter] = m.Labels(s.letter)
			t.labels[s.said] = m.Labels(s.said)
		}
		t.flow.accounts.Do(func() { m.Account(t.flow.books()) })
		t.watchBacklogs(m)
	})
	return m
}

// books are the accounts of the flow's steps.
func (f *Flow) books() (books []tracing.Account) {
	for _, s := range f.steps {
		a := tracing.Account{Flow: f.name, Step: s.name, Read: s.book}
		if open := s.shape.Open; open != nil {
			a.Open = func(ctx context.Context) (n int64, err error) {
				if f.runs.Load() == 0 { // its store is nobody's any more
					return -1, nil
				}
				err = guard(func() (err error) {
					n, err = open(ctx, s.scope)
					return err
				})
				return n, err
			}
		}
		books = append(books, a)
	}
	return books
}

// book is the step's accounting for metrics: as Counts, but that what was given back stays received and
// counts as an outcome, so that no number ever falls.
func (s *step) book() tracing.Book {
	c := s.counts.read()
	b := tracing.Book{
		Received: c.Received + c.Returned, InFlight: c.InFlight, Dropped: maps.Clone(c.Dropped),
		Outcomes: map[string]int64{returned: c.Returned},
		Released: c.Released, Retries: c.Retries, Later: c.Later, Redelivered: c.Again, Fired: c.Fired, Lost: c.BestEffort,
	}
	for o, n := range map[channel.Outcome]int64{
		channel.Sent: c.Sent, channel.Finished: c.Done, channel.Held: c.Held,
		channel.Invalid: c.Invalid, channel.Expired: c.Expired, channel.Buried: c.Dead,
	} {
		b.Outcomes[outcomeName(o)] = n
	}
	return b
}

// returned is the outcome of a message that was given back.
const returned = "returned"

// outcomeName names an outcome as Counts does.
func outcomeName(o channel.Outcome) string {
	switch o { //nolint:exhaustive // The others have none.
	case channel.Sent:
		return "sent"
	case channel.Finished:
		return "done"
	case channel.Held:
		return "held"
	case channel.Dropped:
		return "dropped"
	case channel.Invalid:
		return "invalid"
	case channel.Expired:
		return "expired"
	case channel.Buried:
		return "dead"
	}
	return ""
}

// places gives every way in and out of the steps what its spans have in common.
func (f *Flow) places() {
	for _, s := range f.steps {
		for _, in := range s.inlets {
			in.place = s.entrance(in)
		}
		for i := range s.outlets {
			o := &s.outlets[i]
			o.place = s.exit(o.Topic)
			if o.Name != "" {
				o.place.Attributes = append(o.place.Attributes, attribute.String(tracing.Route, o.Name))
			}
		}
		s.letter = s.exit(string(s.policy.DeadLetter), attribute.Bool(tracing.Letter, true))
		s.aggregate = s.place(tracing.OpAggregate, s.name)
		s.said = s.place(tracing.OpSource, s.name)
		s.attempt = s.place(tracing.OpAttempt, s.name)
	}
}

// place is that of something the step does.
func (s *step) place(op, to string, kvs ...attribute.KeyValue) *tracing.Place {
	all := []attribute.KeyValue{attribute.String(tracing.Flow, s.flow.name), attribute.String(tracing.Step, s.name)}
	if s.shape.Pattern != "" {
		all = append(all, attribute.String(tracing.Pattern, s.shape.Pattern))
	}
	return &tracing.Place{Name: op + " " + to, Attributes: append(all, kvs...)}
}

// passage is the place of messages of a topic.
func (s *step) passage(op, topic string, kvs ...attribute.KeyValue) *tracing.Place {
	physical := s.flow.prefix + topic
	return s.place(op, physical, append([]attribute.KeyValue{
		attribute.String(tracing.OperationName, op), attribute.String(tracing.OperationType, op),
		attribute.String(destination(topic), physical),
	}, kvs...)...)
}

// exit is where messages leave for a topic.
func (s *step) exit(topic string, kvs ...attribute.KeyValue) *tracing.Place {
	return s.passage(tracing.OpSend, topic, kvs...)
}

// entrance is where they come in.
func (s *step) entrance(in *inlet) *tracing.Place {
	if in.clock != nil {
		return s.place(tracing.OpFire, s.name+"/"+in.name, attribute.String(tracing.Inlet, in.name))
	}
	var kvs []attribute.KeyValue
	switch {
	case s.flow.direct[in.topic]:
		kvs = append(kvs, attribute.Bool(tracing.Direct, true))
	case !in.broadcast: // else it has no group
		kvs = append(kvs, attribute.String(tracing.ConsumerGroup, s.group))
	}
	if in.name != "" {
		kvs = append(kvs, attribute.String(tracing.Inlet, in.name))
	}
	return s.passage(tracing.OpProcess, in.topic, kvs...)
}

// destination is the attribute of a topic, or of a pattern of topics.
func destination(topic string) string {
	if channel.IsPattern(topic) {
		return tracing.Template
	}
	return tracing.Destination
}

// created is the place of an outlet whose messages a Watermill router publishes.
func created(p *tracing.Place) *tracing.Place {
	c := &tracing.Place{Name: tracing.OpCreate + strings.TrimPrefix(p.Name, tracing.OpSend)}
	for _, kv := range p.Attributes {
		if k := string(kv.Key); k == tracing.OperationName || k == tracing.OperationType {
			kv.Value = attribute.StringValue(tracing.OpCreate)
		}
		c.Attributes = append(c.Attributes, kv)
	}
	return c
}
