package leattest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
)

// Traces keeps every span and every measurement of the flows that trace to it, and says what is wrong with
// them. The zero value is ready. It is safe for concurrent use and must not be copied.
//
//	var traces leattest.Traces
//	f, err := flow.New("orders", …, flow.Tracing(traces.Config()))
//	…
//	traces.Check(t, f)
type Traces struct {
	once     sync.Once
	exporter *tracetest.InMemoryExporter
	spans    *sdktrace.TracerProvider
	reader   *sdkmetric.ManualReader
	meters   *sdkmetric.MeterProvider

	mu      sync.Mutex
	outside []string // traceparents of messages that tests sent
}

func (x *Traces) init() {
	x.once.Do(func() {
		x.exporter = tracetest.NewInMemoryExporter()
		limits := sdktrace.NewSpanLimits()
		limits.EventCountLimit = -1 // each retry is to be seen
		x.spans = sdktrace.NewTracerProvider(sdktrace.WithSyncer(x.exporter), sdktrace.WithRawSpanLimits(limits))
		x.reader = sdkmetric.NewManualReader()
		x.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(x.reader))
	})
}

// Config traces every message to x, and measures it there.
func (x *Traces) Config() tracing.Config {
	x.init()
	return tracing.Config{TracerProvider: x.spans, MeterProvider: x.meters}
}

// Spans gives the spans that have ended, in that order.
func (x *Traces) Spans() []Span {
	x.init()
	stubs := x.exporter.GetSpans()
	spans := make([]Span, len(stubs))
	for i := range stubs {
		spans[i] = Span{stubs[i]}
	}
	return spans
}

// From says that messages come with this traceparent, from spans that are not recorded here.
func (x *Traces) From(traceparent string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.outside = append(x.outside, traceparent)
}

func (x *Traces) fromOutside(id trace.SpanID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.ContainsFunc(x.outside, func(tp string) bool { return strings.Contains(tp, id.String()) })
}

// A Span is one that has ended, as the OpenTelemetry SDK exports it.
type Span struct{ tracetest.SpanStub }

// Get gives an attribute as text, "" if the span has none of that name.
func (s *Span) Get(name string) string {
	for _, kv := range s.Attributes {
		if string(kv.Key) == name {
			return kv.Value.String()
		}
	}
	return ""
}

// Op is what the span does: the first word of its name.
func (s *Span) Op() string {
	op, _, _ := strings.Cut(s.Name, " ")
	return op
}

// Count is how many events of that name the span has.
func (s *Span) Count(event string) (n int) {
	for i := range s.Events {
		if s.Events[i].Name == event {
			n++
		}
	}
	return n
}

// Of gives the spans of a flow, of the steps named, or of all.
func (x *Traces) Of(f *flow.Flow, steps ...string) (spans []Span) {
	for _, s := range x.Spans() {
		if s.Get(tracing.Flow) == f.Name() && (len(steps) == 0 || slices.Contains(steps, s.Get(tracing.Step))) {
			spans = append(spans, s)
		}
	}
	return spans
}

// Check fails the test unless the traces of the flow are whole: every edge that a message went along is
// one of the drawing; no span has a parent, or a link, that is nowhere; a message is processed as a child
// of its own send; and every aggregate is linked to each of its members. Call it when the flow is at rest.
func (x *Traces) Check(t testing.TB, f *flow.Flow) {
	t.Helper()
	_, undrawn := x.Edges(f)
	for _, u := range undrawn {
		t.Errorf("flow %s: a trace goes along an edge that is not drawn: %s", f.Name(), u)
	}
	c := x.census()
	for _, s := range x.Of(f) {
		for _, wrong := range x.wrong(c, &s) {
			t.Errorf("flow %s: span %q of step %s: %s", f.Name(), s.Name, s.Get(tracing.Step), wrong)
		}
	}
}

// Covers fails the test unless the traces of the flow, together, went along every edge of its drawing but
// those named, by flow.Edge's String, and along none of those.
func (x *Traces) Covers(t testing.TB, f *flow.Flow, but ...string) {
	t.Helper()
	took, _ := x.Edges(f)
	for _, e := range f.Edges() {
		switch out, seen := slices.Contains(but, e.String()), slices.Contains(took, e); {
		case !out && !seen:
			t.Errorf("flow %s: no trace goes along %s", f.Name(), e)
		case out && seen:
			t.Errorf("flow %s: a trace does go along %s", f.Name(), e)
		}
	}
	for _, name := range but {
		if !slices.ContainsFunc(f.Edges(), func(e flow.Edge) bool { return e.String() == name }) {
			t.Errorf("flow %s has no edge %s", f.Name(), name)
		}
	}
}

// Edges gives the edges of the drawing that messages went along, as their spans say, and what spans say
// of edges that are not drawn.
func (x *Traces) Edges(f *flow.Flow) (took []flow.Edge, undrawn []string) {
	drawn, c := f.Edges(), x.census()
	for _, s := range x.Of(f) {
		said, ok := c.edge(&s)
		if !ok {
			continue
		}
		i := slices.IndexFunc(drawn, func(e flow.Edge) bool { return said.is(f, e) })
		switch {
		case i < 0:
			if u := said.String(); !slices.Contains(undrawn, u) {
				undrawn = append(undrawn, u)
			}
		case !slices.Contains(took, drawn[i]):
			took = append(took, drawn[i])
		}
	}
	return took, undrawn
}

// A census is every span by its identity.
type census map[trace.SpanID]*Span

func (x *Traces) census() census {
	c := census{}
	for _, s := range x.Spans() {
		c[s.SpanContext.SpanID()] = &s
	}
	return c
}

// wrong says what is wrong with the relations of a span.
func (x *Traces) wrong(c census, s *Span) (wrong []string) {
	parent := c[s.Parent.SpanID()]
	switch {
	case !s.Parent.IsValid():
	case parent == nil && s.Parent.IsRemote() && x.fromOutside(s.Parent.SpanID()):
	case parent == nil:
		wrong = append(wrong, "it is an orphan: its parent "+s.Parent.SpanID().String()+" is nowhere")
	case s.Op() == tracing.OpProcess && s.SpanKind == trace.SpanKindConsumer && parent.Op() == tracing.OpSend &&
		parent.Get(tracing.Destination) != s.Get(tracing.Destination):
		wrong = append(wrong, fmt.Sprintf("its parent is %q", parent.Name))
	}
	for _, l := range s.Links {
		if c[l.SpanContext.SpanID()] == nil && !x.fromOutside(l.SpanContext.SpanID()) {
			wrong = append(wrong, "it is linked to "+l.SpanContext.SpanID().String()+", which is nowhere")
		}
	}
	if s.Op() != tracing.OpAggregate {
		return wrong
	}
	if members := s.Get(tracing.BatchCount); members != strconv.Itoa(len(s.Links)) && len(s.Links) < tracing.MaxLinks {
		wrong = append(wrong, fmt.Sprintf("it has %s members and %d links", members, len(s.Links)))
	}
	for _, l := range s.Links {
		if m := c[l.SpanContext.SpanID()]; m != nil && m.Get(tracing.Step) != s.Get(tracing.Step) {
			wrong = append(wrong, fmt.Sprintf("it is linked to %q of step %s, which is no member", m.Name, m.Get(tracing.Step)))
		}
	}
	return wrong
}

// A saidEdge is an edge as a span tells of it.
type saidEdge struct {
	flow.Edge

	topic string // of a direct hop
}

// edge gives the edge that a span stands for, if it stands for one.
func (c census) edge(s *Span) (e saidEdge, ok bool) {
	step, topic := "step "+s.Get(tracing.Step), s.Get(tracing.Destination)
	if pattern := s.Get(tracing.Template); pattern != "" {
		topic = pattern
	}
	switch {
	case s.Op() == tracing.OpSend || s.Op() == tracing.OpCreate:
		e.Edge = flow.Edge{From: step, To: "topic " + topic, Link: flow.LinkOut, Name: s.Get(tracing.Route)}
		if s.Get(tracing.Letter) != "" {
			e.Link = flow.LinkError
		}
	case s.Op() == tracing.OpProcess && s.Get(tracing.Direct) == "":
		e.Edge = flow.Edge{From: "topic " + topic, To: step, Link: flow.LinkIn, Name: s.Get(tracing.Inlet)}
	case s.Op() == tracing.OpProcess:
		parent := c[s.Parent.SpanID()]
		if parent == nil || parent.Get(tracing.Flow) != s.Get(tracing.Flow) { // handed in from outside
			return e, false
		}
		e.topic = topic
		e.Edge = flow.Edge{From: "step " + parent.Get(tracing.Step), To: step, Link: flow.LinkDirect, Name: topic}
	case s.Get(tracing.Inlet) != "": // of a clock
		e.Edge = flow.Edge{From: "clock " + s.Get(tracing.Step) + "/" + s.Get(tracing.Inlet), To: step, Link: flow.LinkTime, Name: s.Get(tracing.Inlet)}
	default:
		return e, false
	}
	return e, true
}

// is reports whether an edge of the drawing is the one.
func (e saidEdge) is(f *flow.Flow, drawn flow.Edge) bool {
	physical := func(node string) string {
		if topic, ok := strings.CutPrefix(node, "topic "); ok {
			return "topic " + f.Physical(topic)
		}
		return node
	}
	if physical(drawn.From) != e.From || physical(drawn.To) != e.To {
		return false
	}
	switch drawn.Link { //nolint:exhaustive // The others are as they are.
	case flow.LinkDirect:
		name := drawn.Name
		if at := strings.LastIndex(name, ": "); at >= 0 {
			name = name[at+2:]
		}
		return e.Link == flow.LinkDirect && f.Physical(name) == e.topic
	case flow.LinkBestEffort:
		return e.Link == flow.LinkOut && drawn.Name == e.Name
	case flow.LinkEvery:
		return e.Link == flow.LinkIn && drawn.Name == e.Name
	}
	return drawn.Link == e.Link && drawn.Name == e.Name
}

// Metrics collects every measurement so far.
func (x *Traces) Metrics(t testing.TB) metricdata.ResourceMetrics {
	t.Helper()
	x.init()
	var rm metricdata.ResourceMetrics
	if err := x.reader.Collect(context.WithoutCancel(t.Context()), &rm); err != nil {
		t.Fatalf("collecting metrics: %v", err)
	}
	return rm
}

// Sum adds up the points of an integer instrument whose attributes include those given: name, value,
// name, value.
func (x *Traces) Sum(t testing.TB, instrument string, attributes ...string) (n int64) {
	t.Helper()
	for _, p := range x.points(t, instrument) {
		if has(p.Attributes, attributes) {
			n += p.Value
		}
	}
	return n
}

func (x *Traces) points(t testing.TB, instrument string) (points []metricdata.DataPoint[int64]) {
	t.Helper()
	rm := x.Metrics(t)
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			if m.Name != instrument {
				continue
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = append(points, d.DataPoints...)
			case metricdata.Gauge[int64]:
				points = append(points, d.DataPoints...)
			}
		}
	}
	return points
}

func has(set attribute.Set, attributes []string) bool {
	for i := 0; i+1 < len(attributes); i += 2 {
		if v, ok := set.Value(attribute.Key(attributes[i])); !ok || v.String() != attributes[i+1] {
			return false
		}
	}
	return true
}

// Accounts fails the test unless the accounting that metrics show of the flow is whole, and that of
// Counts. The flow must be at rest, and the only one of its name that traces to x.
func (x *Traces) Accounts(t testing.TB, f *flow.Flow) {
	t.Helper()
	for name, c := range f.Counts() {
		of := []string{tracing.Flow, f.Name(), tracing.Step, name}
		received := x.Sum(t, tracing.Received, of...)
		settled := x.Sum(t, tracing.Outcomes, of...) + x.Sum(t, tracing.InFlight, of...)
		if received != settled || received != c.Received+c.Returned {
			t.Errorf("flow %s, step %s: metrics say %d received, %d accounted for; counts are %v", f.Name(), name, received, settled, c)
		}
	}
}
