package tracing

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// A Config says how a flow, or a plain Watermill router, is traced and measured. The zero value is
// right for most: the global OpenTelemetry providers, which cost nothing until somebody sets them, and
// one trace across all hops.
type Config struct {
	// TracerProvider makes the spans. Nil: the global one, also if it is set after the flow was started.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the instruments. Nil: the global one, as above.
	MeterProvider metric.MeterProvider
	// Propagator reads contexts from headers and writes them. Nil: the global one, or, if that does
	// nothing, W3C trace context and baggage.
	Propagator propagation.TextMapPropagator

	// AttemptSpans gives each attempt at a message a span of its own. Otherwise a retry is an event of
	// the one span.
	AttemptSpans bool
	// LinkHops begins a trace at each hop over a broker, linked to where the message comes from.
	// Otherwise one trace goes across all hops.
	LinkHops bool
	// LinkAggregates begins a trace at each aggregate. Otherwise one whose members are all of one trace
	// is in that trace (of a folded group beyond MaxLinks members nobody knows). In both cases it is linked
	// to its members.
	LinkAggregates bool
	// FollowReplays has a message that was put back go on with the trace it died in. Otherwise it
	// begins a new one, linked to its dead letter.
	FollowReplays bool

	// Off makes neither spans nor measurements and leaves the headers of messages as they are.
	Off bool
}

// MaxLinks is how many members an aggregate's span links to; of more it has the number alone.
const MaxLinks = 128

// A Telemetry finds the providers of a Config, as late as they may come. For drivers. It is safe for
// concurrent use.
type Telemetry struct {
	config Config
	system string
	traces switcher[trace.TracerProvider, Tracer]
	meters switcher[metric.MeterProvider, Meter]
}

// New gives the telemetry of what runs on a messaging system: "kafka", "redis", "memory", "watermill".
func New(c Config, system string) *Telemetry {
	t := &Telemetry{config: c, system: system}
	t.traces.get, t.traces.make = otel.GetTracerProvider, t.tracer
	t.meters.get, t.meters.make = otel.GetMeterProvider, t.global
	switch {
	case c.Off:
		t.traces.fix(nil)
		t.meters.fix(nil)
		return t
	case c.TracerProvider != nil:
		t.traces.fix(t.given(c.TracerProvider))
	}
	switch c.MeterProvider.(type) {
	case nil:
	case metricnoop.MeterProvider:
		t.meters.fix(nil)
	default:
		t.meters.fix(t.meter(c.MeterProvider))
	}
	return t
}

// Tracer makes spans; nil as long as nobody would see them.
func (t *Telemetry) Tracer() *Tracer { return t.traces.now() }

// Meter measures; nil as long as nobody would see it.
func (t *Telemetry) Meter() *Meter { return t.meters.now() }

// System is the messaging system.
func (t *Telemetry) System() string { return t.system }

// A switcher is off, which costs a load and a comparison, until its global provider is one that does
// something.
type switcher[P, T any] struct {
	get  func() P
	make func(P) *T // nil: it does nothing

	mu    sync.Mutex
	state atomic.Pointer[switched[T]]
}

type switched[T any] struct {
	seen  any // the global provider that does nothing
	fixed bool
	on    *T
}

func (s *switcher[P, T]) fix(on *T) { s.state.Store(&switched[T]{fixed: true, on: on}) }

func (s *switcher[P, T]) now() *T {
	x := s.state.Load()
	if x != nil && (x.fixed || x.seen == any(s.get())) {
		return x.on
	}
	return s.look()
}

// look asks the global provider whether it does something.
func (s *switcher[P, T]) look() *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.get()
	on := s.make(p)
	s.state.Store(&switched[T]{seen: p, fixed: on != nil || !reflect.ValueOf(p).Comparable(), on: on})
	return on
}

// given gives nil for the provider that says it makes no spans.
func (t *Telemetry) given(p trace.TracerProvider) *Tracer {
	if _, none := p.(noop.TracerProvider); none {
		return nil
	}
	return newTracer(t.config, p.Tracer(InstrumentationName, trace.WithSchemaURL(semconv.SchemaURL)), t.system)
}

// tracer gives nil for a global provider that makes no spans. It is asked for one below a remote span that
// is not sampled: what makes none gives that back, and what samples as its parent does records nothing.
// One that panics makes none.
func (t *Telemetry) tracer(p trace.TracerProvider) (on *Tracer) {
	defer func() {
		if r := recover(); r != nil {
			on = nil
			otel.Handle(fmt.Errorf("asking the tracer provider for a span: panic: %v", r))
		}
	}()
	x := p.Tracer(InstrumentationName, trace.WithSchemaURL(semconv.SchemaURL))
	parent := unsampled()
	_, span := x.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), OpProcess)
	if span.SpanContext().SpanID() == parent.SpanID() || !span.SpanContext().IsValid() {
		return nil
	}
	return newTracer(t.config, x, t.system)
}

// propagator gives the one to use.
func (c Config) propagator() propagation.TextMapPropagator {
	if c.Propagator != nil {
		return c.Propagator
	}
	if p := otel.GetTextMapPropagator(); len(p.Fields()) > 0 {
		return p
	}
	return propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
}
