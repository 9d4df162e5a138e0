package tracing

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
)

// A Tracer makes the spans of a flow: what is whose child, what is linked, what travels in headers. For
// drivers. It is safe for concurrent use.
type Tracer struct {
	Config

	tracer trace.Tracer
	prop   propagation.TextMapPropagator
	fields []string // that it writes
	w3c    bool     // it is W3C's, which we read and write by a shorter way where nothing but a trace travels
	system attribute.KeyValue

	consumer, producer, internal []trace.SpanStartOption // so that a start allocates none
	consumerRoot                 []trace.SpanStartOption
}

func newTracer(c Config, t trace.Tracer, system string) *Tracer {
	consumer := trace.WithSpanKind(trace.SpanKindConsumer)
	p := c.propagator()
	x := &Tracer{
		Config: c, tracer: t, prop: p, fields: p.Fields(), w3c: isW3C(p), system: attribute.String(System, system),
		consumer:     []trace.SpanStartOption{consumer},
		consumerRoot: []trace.SpanStartOption{consumer, trace.WithNewRoot()},
		producer:     []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindProducer)},
		internal:     []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindInternal)},
	}
	return x
}

// A Place is what all spans of one way into a step, or out of it, have in common.
type Place struct {
	Name       string
	Attributes []attribute.KeyValue
}

// Arrived begins the span of a message that came over a broker, in the trace that its headers name. A
// span in ctx counts only if ctx is the message's own, and the span of that trace, or of the message itself
// (see Config.Middleware): what else a subscription's context has, such as the span of the program's
// start, is nobody's cause.
func (t *Tracer) Arrived(ctx context.Context, e *channel.Envelope, p *Place, own bool) (context.Context, trace.Span) {
	bare := ctx
	if own && baggage.FromContext(ctx).Len() > 0 { // the subscription's, which is nobody's either
		bare = baggage.ContextWithoutBaggage(ctx)
	}
	from, remote := t.extract(bare, (*envelope)(e))
	switch {
	case own && within(ctx, remote) && (t.FollowReplays || e.Get(channel.HeaderPutBack) == "" || ctx.Value(processing{}) == e.Get(channel.HeaderPutBack)):
		return t.start(ctx, p, t.consumer)
	case !remote.IsValid():
		return t.start(from, p, t.consumerRoot) // from: it may have baggage
	case t.LinkHops || !t.FollowReplays && e.Get(channel.HeaderPutBack) != "":
		return t.start(from, p, append(slices.Clip(t.consumerRoot), trace.WithLinks(trace.Link{SpanContext: remote})))
	}
	return t.start(from, p, t.consumer)
}

// Unseen gives, without a span, the context of a message that came over a broker in a trace that is not
// sampled, to a place whose spans follow their trace (see Follows): it goes on in that trace, unseen. It
// gives false for every other message.
func (t *Tracer) Unseen(ctx context.Context, e *channel.Envelope) (context.Context, bool) {
	if !t.w3c || t.LinkHops {
		return ctx, false
	}
	sc, ok := readW3C((*envelope)(e))
	if !ok || !sc.IsValid() || sc.IsSampled() || e.Get(channel.HeaderPutBack) != "" {
		return ctx, false
	}
	return trace.ContextWithRemoteSpanContext(ctx, sc), true
}

// Follows asks the sampler whether spans of a place are ever recorded in a trace that comes from elsewhere
// and is not sampled. If not, as with every sampler that is based on the parent, it need not be asked again
// for each message. What is recorded of the question is never ended, and so never exported.
func (t *Tracer) Follows(p *Place) bool {
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), unsampled())
	_, span := t.start(ctx, p, t.consumer)
	return !span.IsRecording() && !span.SpanContext().IsSampled()
}

// unsampled is a context from elsewhere that is not sampled. By the number of its trace no sampler would
// leave it out: one that goes by the number alone, and not by the parent, takes it.
func unsampled() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: true})
}

// Bare gives ctx without span and baggage: those of the program's start are no message's cause.
func Bare(ctx context.Context) context.Context {
	if baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	return ctx
}

// within reports whether ctx has a span of the message's processing, or one between that and its sender's.
func within(ctx context.Context, remote trace.SpanContext) bool {
	if ctx.Value(processing{}) != nil {
		return true
	}
	local := trace.SpanContextFromContext(ctx)
	return remote.IsValid() && local.TraceID() == remote.TraceID() && local.SpanID() != remote.SpanID() // else it is the sender's own
}

// Handed begins the span of a message that a caller hands in, as a child of the caller's.
func (t *Tracer) Handed(ctx context.Context, p *Place) (context.Context, trace.Span) {
	return t.start(ctx, p, t.internal)
}

// Inside begins a span within that of ctx.
func (t *Tracer) Inside(ctx context.Context, p *Place) (context.Context, trace.Span) {
	return t.start(ctx, p, t.internal)
}

// Direct begins the span of a message that comes over a direct hop: inside of its sender's, or where a
// context of its own says.
func (t *Tracer) Direct(e *channel.Envelope, p *Place) (context.Context, trace.Span) {
	ctx := e.Context()
	if t.Foreign(e) {
		ctx, _ = t.extract(ctx, own{e})
	}
	return t.start(ctx, p, t.internal)
}

// Leaving begins the span of a message that leaves.
func (t *Tracer) Leaving(ctx context.Context, p *Place) (context.Context, trace.Span) {
	return t.start(ctx, p, t.producer)
}

// Time begins the span of what time caused: a trace of its own.
func (t *Tracer) Time(ctx context.Context, p *Place, at time.Time) (context.Context, trace.Span) {
	return t.start(ctx, p, append(slices.Clip(t.internal), trace.WithNewRoot(), trace.WithTimestamp(at)))
}

// Aggregate begins the span of one message made of many: linked to each of the members, at most MaxLinks.
// If all of them are of one trace it is in that trace, as a child of ctx's span if that is one of it (the
// member that completed the group), else of the first member's; otherwise it begins a trace.
func (t *Tracer) Aggregate(ctx context.Context, p *Place, members []channel.Entry, at time.Time) (context.Context, trace.Span) {
	n, links, one := t.links(members)
	opts := append(slices.Clip(t.internal), trace.WithLinks(links...))
	if !at.IsZero() {
		opts = append(opts, trace.WithTimestamp(at))
	}
	switch {
	case len(links) == 0 || !one || t.LinkAggregates:
		opts = append(opts, trace.WithNewRoot())
	case trace.SpanContextFromContext(ctx).TraceID() != links[0].SpanContext.TraceID():
		ctx = trace.ContextWithRemoteSpanContext(ctx, links[0].SpanContext)
	}
	ctx, span := t.tracer.Start(ctx, p.Name, opts...)
	if span.IsRecording() {
		span.SetAttributes(attribute.Int(BatchCount, n))
	}
	return ctx, span
}

// links gives the number of members, links to the first MaxLinks of those that have a context, and
// whether all are of one trace. One entry that was folded of many stands for all of them.
func (t *Tracer) links(members []channel.Entry) (n int, links []trace.Link, one bool) {
	one = true
	add := func(sc trace.SpanContext) {
		if !sc.IsValid() || len(links) > 0 && links[0].SpanContext.TraceID() != sc.TraceID() {
			one = false
		}
		if sc.IsValid() && len(links) < MaxLinks {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	for i := range members {
		own, folded := t.ContextOf(&members[i]), members[i].Get(channel.HeaderMembers)
		if folded == "" || own.IsValid() { // what was folded has no context: a message that says so has forged it
			n++
			add(own)
			continue
		}
		carried := channel.Members(folded)
		of, _ := strconv.Atoi(members[i].Get(channel.HeaderMemberCount))
		n += max(of, len(carried))
		for _, fs := range carried {
			_, sc := t.extract(context.Background(), getter{fs})
			add(sc)
		}
		one = one && of <= len(carried)
	}
	return n, links, one
}

func (t *Tracer) start(ctx context.Context, p *Place, opts []trace.SpanStartOption) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, p.Name, opts...) //nolint:spancheck // Who asks for it ends it.
}

// Describe adds to kvs what a span says of its place and of its message: to be set all at once, when the
// span ends, for each time costs an allocation.
func (t *Tracer) Describe(kvs []attribute.KeyValue, p *Place, id, conversation string) []attribute.KeyValue {
	kvs = append(append(kvs, p.Attributes...), t.system, attribute.String(MessageID, Text(id)))
	if conversation != "" {
		kvs = append(kvs, attribute.String(Conversation, Text(conversation)))
	}
	return kvs
}

// extract reads the context that headers carry, and gives it with ctx's values and without ctx's span.
func (t *Tracer) extract(ctx context.Context, headers propagation.TextMapCarrier) (context.Context, trace.SpanContext) {
	if t.w3c {
		if sc, ok := readW3C(headers); ok {
			if !sc.IsValid() {
				return ctx, sc
			}
			return trace.ContextWithRemoteSpanContext(ctx, sc), sc
		}
	}
	for _, name := range t.fields {
		if headers.Get(name) == "" {
			continue
		}
		from := ctx
		if trace.SpanContextFromContext(ctx).IsValid() {
			from = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
		}
		from = t.prop.Extract(from, headers)
		return from, trace.SpanContextFromContext(from)
	}
	return ctx, trace.SpanContext{}
}

// ContextOf gives the span context that an entry's headers carry.
func (t *Tracer) ContextOf(x *channel.Entry) trace.SpanContext {
	_, sc := t.extract(context.Background(), getter{x})
	return sc
}

// Inject writes ctx's span context into headers, which it may change, in place of one they may have.
func (t *Tracer) Inject(ctx context.Context, headers channel.Fields) channel.Fields {
	return t.write(ctx, t.Strip(headers))
}

func (t *Tracer) write(ctx context.Context, headers channel.Fields) channel.Fields {
	if t.w3c {
		if fs, ok := writeW3C(ctx, headers); ok {
			return fs
		}
	}
	s := setter{headers}
	t.prop.Inject(ctx, &s)
	return s.fields
}

// Replace is Inject of what Carry has given.
func (t *Tracer) Replace(headers, carried channel.Fields) channel.Fields {
	return append(t.Strip(headers), carried...)
}

// Carries reports whether headers have a trace.
func (t *Tracer) Carries(headers channel.Fields) bool { return headers.Get(traceParent) != "" }

// Strip takes a context away.
func (t *Tracer) Strip(headers channel.Fields) channel.Fields {
	for i := range headers {
		if slices.Contains(t.fields, headers[i].Name) {
			return slices.DeleteFunc(headers, func(f channel.Field) bool { return slices.Contains(t.fields, f.Name) })
		}
	}
	return headers
}

// Carry gives the headers that a context's span context travels in: what stores keep with a member. It is
// called from within blocks and stores: a propagator that panics carries nothing.
func (t *Tracer) Carry(ctx context.Context) (fs channel.Fields) {
	defer func() {
		if r := recover(); r != nil {
			fs = nil
			otel.Handle(fmt.Errorf("writing a trace into headers: panic: %v", r))
		}
	}()
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	return t.write(ctx, nil)
}

// Foreign reports that a message that leaves brings a context of its own, which is not overwritten: one
// that whoever made it has set, and not one that it has from its cause.
func (t *Tracer) Foreign(e *channel.Envelope) bool {
	for _, name := range t.fields {
		if v := e.Own(name); v != "" && (e.Cause() == nil || v != e.Cause().Get(name)) {
			_, sc := t.extract(context.Background(), own{e}) // baggage alone is no trace
			return sc.IsValid()
		}
	}
	return false
}

// Keep puts back the baggage that a delivery has set itself, where Inject has put that of its cause.
func (t *Tracer) Keep(e *channel.Envelope, headers channel.Fields) channel.Fields {
	if v := e.Own(baggageName); v != "" && (e.Cause() == nil || v != e.Cause().Get(baggageName)) {
		return headers.With(baggageName, v)
	}
	return headers
}

// Fail marks a span as failed. The text must not quote a payload.
func Fail(span trace.Span, class Class, text string) {
	span.SetStatus(codes.Error, text)
	span.SetAttributes(attribute.String(ErrorType, class.String()))
}
