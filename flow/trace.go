package flow

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// A spans is what of a work is traced and measured: the span of the message that arrived, from its first
// attempt to its end; inside of it, for as long as an attempt lasts, those of the steps behind direct
// hops; and one for each message that leaves, until it is published. All of it is nil, and costs a
// comparison, as long as nobody would see it.
type spans struct {
	tel    *telemetry
	tracer *tracing.Tracer
	meter  *tracing.Meter

	base    context.Context      //nolint:containedctx // The message's, with its span; nil: not begun.
	span    trace.Span           // nil: none
	open    []openSpan           // inside of it
	attrs   []attribute.KeyValue // to build in
	traced  bool                 // somebody sees what is computed now
	unseen  bool                 // its trace comes from elsewhere and is not sampled: it has no span
	fed     bool                 // handed in by a caller, whose span it continues
	began   time.Time            // of a clock: the attempt
	sentAt  time.Time
	group   context.Context //nolint:containedctx // Of the aggregate that is delivered; nil: none.
	carried channel.Fields  // what unseen messages that leave have
	carrier trace.SpanContext
}

// An openSpan is one that is inside of the message's.
type openSpan struct {
	trace.Span

	place *tracing.Place
	env   *channel.Envelope // nil: it is no message's own
}

// watch begins to watch a work.
func (w *work) watch(t *telemetry, a *channel.Arrival) {
	w.tel, w.tracer, w.meter, w.fed = t, t.tracer(), t.meter(), a.HasBody
	if w.tracer != nil || w.flow.history > 0 {
		a.Carry = t.carry
	}
}

// within is the context of everything the message causes.
func (w *work) within() context.Context {
	if w.base != nil {
		return w.base
	}
	return w.ctx
}

// begin begins the message's span at its first attempt, and that of each attempt. A clock has none
// before it is known what it came to.
func (w *work) begin() {
	defer w.blind()
	tick := w.in.clock != nil
	if w.began.IsZero() || tick {
		w.began = time.Now()
		if w.meter != nil && !tick && !w.fed {
			w.meter.Consumed(w.ctx, w.tel.labelsOf(w.meter, w.in.place))
		}
	}
	t := w.tracer
	if t == nil {
		return
	}
	w.group = nil
	if w.base == nil && !tick {
		w.arrive()
	}
	w.traced = w.span != nil && w.span.IsRecording()
	if w.traced && t.AttemptSpans {
		ctx, span := t.Inside(w.env.Context(), w.in.step.attempt)
		span.SetAttributes(attribute.Int(tracing.Attempt, w.tries))
		w.env.SetContext(ctx)
		w.open = append(w.open, openSpan{span, w.in.step.attempt, nil})
	}
}

func (w *work) arrive() {
	switch t := w.tracer; {
	case w.in.isSource():
		w.base, w.span = t.Handed(w.ctx, w.in.step.said)
	case w.fed:
		w.base, w.span = t.Handed(w.ctx, w.in.place)
	default:
		own := w.claim() == nil || w.rec.Context != nil
		if !own {
			if base, ok := t.Unseen(w.ctx, &w.env); ok && w.tel.unseen(t, w.in.place) {
				w.base, w.unseen = base, true
				break
			}
		}
		w.base, w.span = t.Arrived(w.ctx, &w.env, w.in.place, own)
	}
	w.env.SetContext(w.base)
}

// claim is what handed the message over; nil: a Watermill router, or somebody by hand.
func (w *work) claim() adapters.Claim {
	if w.lane == nil {
		return nil
	}
	return w.lane.claim
}

// fire gives a clock that has something to say its span, at last.
func (w *work) fire() {
	if w.base != nil || w.tracer == nil || w.in.clock == nil {
		return
	}
	w.base, w.span = w.tracer.Time(w.ctx, w.in.place, w.began)
	w.traced = w.span.IsRecording()
}

// endSpan says of a span what it was for, and ends it.
func (w *work) endSpan(x openSpan, more ...attribute.KeyValue) {
	defer w.blind()
	if x.IsRecording() {
		w.attrs = w.attrs[:0]
		if x.env == nil {
			w.attrs = append(w.attrs, x.place.Attributes...)
		} else {
			conversation := x.env.Get(channel.HeaderConversation)
			if conversation == "" {
				conversation = x.env.Began().ID()
			}
			w.attrs = w.tracer.Describe(w.attrs, x.place, x.env.ID(), conversation)
			if at, ok := w.native.(adapters.Located); ok && x.env == &w.env {
				partition, offset := at.Location()
				w.attrs = append(w.attrs, attribute.String(tracing.Partition, partition), attribute.Int64(tracing.Offset, offset))
			}
		}
		w.attrs = append(w.attrs, more...)
		x.SetAttributes(w.attrs...)
	}
	x.End()
}

// enter begins the span of a step behind a direct hop.
func (w *work) enter(e *channel.Envelope, in *inlet) {
	defer w.blind()
	ctx, span := w.tracer.Direct(e, in.place)
	e.SetContext(ctx)
	w.open = append(w.open, openSpan{span, in.place, e})
}

// relate begins the span of an aggregate, if that is what the step sends, or of a clock that sends
// something else.
func (w *work) relate(e *channel.Envelope, in *inlet, r *channel.Result) {
	defer w.blind()
	var members []channel.Entry
	completed := ""
	for i := 0; i < r.Len() && members == nil; i++ {
		members = r.At(i).Members()
		completed = r.At(i).Get(channel.HeaderCompleted)
	}
	switch {
	case len(members) > 0:
		at := time.Time{}
		if in.clock != nil {
			at = w.began
		}
		ctx, span := w.tracer.Aggregate(e.Context(), in.step.aggregate, members, at)
		w.group, w.open = ctx, append(w.open, openSpan{span, in.step.aggregate, nil})
		if !span.IsRecording() {
			return
		}
		w.traced = true
		// A member that was held points to nothing, but the one that completed the group can.
		if last := trace.SpanFromContext(e.Context()); last.IsRecording() && last.SpanContext().TraceID() != span.SpanContext().TraceID() {
			last.AddLink(trace.Link{SpanContext: span.SpanContext()})
		}
		if in.clock != nil {
			span.SetAttributes(attribute.String(tracing.Inlet, in.name))
		}
		if completed != "" {
			span.SetAttributes(attribute.String(tracing.Reason, completed))
		}
	case in.clock != nil && (r.Len() > 0 || r.Outcome() == channel.Buried):
		w.fire()
		e.SetContext(w.within())
	}
}

// under gives what an aggregate sends its context.
func (w *work) under(c *channel.Envelope, d *channel.Delivery) {
	if w.group != nil && len(d.Members()) > 0 {
		c.SetContext(w.group)
	}
}

// leave ends the spans that a step has begun: its own, if it is behind a direct hop, and its aggregate's.
func (w *work) leave(depth int, direct bool, r *channel.Result) {
	for i := len(w.open) - 1; i >= depth && i < len(w.open); i-- { // blind empties it
		if i > depth || !direct {
			w.endSpan(w.open[i])
			continue
		}
		came := attribute.String(tracing.Outcome, outcomeName(r.Outcome()))
		if r.Outcome() == channel.Dropped {
			w.endSpan(w.open[i], came, attribute.String(tracing.Reason, tracing.Text(r.Reason())))
		} else {
			w.endSpan(w.open[i], came)
		}
	}
	clear(w.open[min(depth, len(w.open)):])
	w.open = w.open[:min(depth, len(w.open))]
}

// attempted ends what an attempt has begun. If it failed, that is said where it did.
func (w *work) attempted(err error) {
	for i := len(w.open) - 1; i >= 0 && i < len(w.open); i-- { // blind empties it
		if err != nil {
			w.fail(w.open[i], err)
		}
		w.endSpan(w.open[i])
	}
	clear(w.open)
	w.open = w.open[:0]
	if err != nil { // whatever is done about it is done for the message
		w.group, w.traced = nil, w.span != nil && w.span.IsRecording()
	}
}

func (w *work) fail(span trace.Span, err error) {
	defer w.blind()
	if span.IsRecording() {
		err = speaking(err)
		tracing.Fail(span, w.class(err), channel.Reason(err))
	}
}

// event notes on the message's span that it is tried again.
func (w *work) event(name string, err error, after time.Duration) {
	if w.tracer == nil {
		return
	}
	defer w.blind()
	if name == tracing.EventRetry { // what only waits is nobody's news, where there is no message
		w.fire()
	}
	if w.span == nil || !w.span.IsRecording() {
		return
	}
	class := w.class(err)
	switch name {
	case tracing.EventLater:
		class = tracing.ClassLater
	case tracing.EventSettle:
		class = tracing.ClassSettle
	}
	kvs := []attribute.KeyValue{
		attribute.Int(tracing.Attempt, max(w.tries, 1)), attribute.String(tracing.ErrorType, class.String()),
		attribute.Float64(tracing.Pause, after.Seconds()),
	}
	if w.failed != nil && w.failed.step != w.in.step {
		kvs = append(kvs, attribute.String(tracing.FailedStep, w.failed.step.name))
	}
	w.span.AddEvent(name, trace.WithAttributes(kvs...))
}

// depart begins the span of a message that leaves, and has it travel in the message's headers. A context
// that somebody has set there is not overwritten.
func (w *work) depart(ctx context.Context, o *adapters.Outgoing, n *node) {
	defer w.blind()
	t := w.tracer
	foreign := !n.letter && t.Foreign(&n.env)
	if !n.traced {
		if !foreign && (!w.unseen || !t.Carries(o.Headers) || baggage.FromContext(ctx).Len() > 0) {
			o.Headers = t.Keep(&n.env, w.carry(ctx, o.Headers))
		}
		o.Context = w.within()
		return
	}
	ctx, n.span = t.Leaving(ctx, n.place)
	o.Context = trace.ContextWithSpan(w.ctx, n.span)
	if !foreign {
		o.Headers = t.Keep(&n.env, t.Inject(ctx, o.Headers))
	}
	if !n.span.IsRecording() {
		return
	}
	conversation := o.Headers.Get(channel.HeaderConversation)
	if conversation == "" {
		conversation = o.ID
	}
	w.attrs = t.Describe(w.attrs[:0], n.place, o.ID, conversation)
	if n.pattern {
		w.attrs = append(w.attrs, attribute.String(tracing.Destination, tracing.Text(o.Topic)))
	}
	n.span.SetAttributes(w.attrs...)
}

// carry is Inject for what nobody sees: all that leaves has the same.
func (w *work) carry(ctx context.Context, headers channel.Fields) channel.Fields {
	sc := trace.SpanContextFromContext(ctx)
	switch {
	case !sc.IsValid(): // nobody traces: headers stay as they came
		return headers
	case baggage.FromContext(ctx).Len() > 0: // which may be one branch's
		return w.tracer.Inject(ctx, headers)
	}
	if !w.carrier.Equal(sc) {
		w.carrier, w.carried = sc, w.tracer.Carry(ctx)
	}
	return w.tracer.Replace(headers, w.carried)
}

// undated is the message's context without deadlines, with the span of ctx.
func (w *work) undated(ctx context.Context) context.Context {
	if w.tracer == nil {
		return w.ctx
	}
	return trace.ContextWithSpan(w.within(), trace.SpanFromContext(ctx))
}

// letter begins the span of a dead letter: a child of what failed, linked to where the entry itself was.
func (w *work) letter(o *adapters.Outgoing, n *node, x *channel.Entry) {
	defer w.blind()
	w.depart(w.failedContext(), o, n)
	if n.span == nil || !n.span.IsRecording() {
		return
	}
	if own := w.tracer.ContextOf(x); own.IsValid() && own.TraceID() != n.span.SpanContext().TraceID() {
		n.span.AddLink(trace.Link{SpanContext: own})
	}
}

// failedContext is that of the step that buries: while it is computed its own, else the message's.
func (w *work) failedContext() context.Context {
	if n := len(w.open); n > 0 {
		return trace.ContextWithSpan(w.within(), w.open[n-1].Span)
	}
	return w.within()
}

// sent ends the span of a message that was published, or will not be.
func (w *work) sent(o *adapters.Outgoing, err error) {
	n, ok := o.Owner.(*node)
	if !ok {
		return
	}
	span := n.span
	if span == nil {
		return
	}
	n.span = nil
	defer w.blind()
	if err != nil && span.IsRecording() {
		tracing.Fail(span, tracing.ClassPublish, channel.Reason(err))
	}
	span.End()
}

// resent notes on the spans of what could not be published that it is tried again.
func (w *work) resent(after time.Duration) {
	if w.tracer == nil {
		return
	}
	defer w.blind()
	for _, o := range w.outs {
		if n, ok := o.Owner.(*node); ok && n.span != nil && n.span.IsRecording() {
			n.span.AddEvent(tracing.EventResend, trace.WithAttributes(attribute.Int(tracing.Attempt, w.pubFails),
				attribute.String(tracing.ErrorType, tracing.ClassPublish.String()), attribute.Float64(tracing.Pause, after.Seconds())))
		}
	}
}

// measureSend measures one try at a publish.
func (w *work) measureSend(o *adapters.Outgoing) {
	n, ok := o.Owner.(*node)
	if !ok || w.meter == nil {
		return
	}
	defer w.blind()
	class := tracing.ClassNone
	if o.Err != nil {
		class = tracing.ClassPublish
	}
	w.meter.Sent(o.Context, w.tel.labelsOf(w.meter, n.place), time.Since(w.sentAt), class)
}

// ended ends the span of a message that is finished.
func (w *work) ended() {
	name, reason := outcomeName(w.res.Outcome()), ""
	var err error
	if w.res.Outcome() == channel.Buried && !w.buried { // the block's own word
		err, _ = w.res.Buried()
	}
	if w.buried {
		name, err = outcomeName(channel.Buried), w.err
		for _, t := range w.tallies {
			if t.outcome != channel.Unsaid {
				name, reason = outcomeName(t.outcome), t.reason
			}
		}
	} else if w.res.Outcome() == channel.Dropped {
		reason = w.res.Reason()
	}
	w.over(name, reason, err)
}

// over ends the message's span and measures it.
func (w *work) over(name, reason string, err error) {
	if w.span != nil {
		x := openSpan{w.span, w.in.place, &w.env}
		if w.in.isSource() || w.in.clock != nil {
			x.env = nil // there is no message that arrived
		}
		if err != nil {
			w.fail(w.span, err)
		}
		more := [3]attribute.KeyValue{attribute.String(tracing.Outcome, name)}
		n := 1
		if reason != "" {
			more[n], n = attribute.String(tracing.Reason, tracing.Text(reason)), n+1
		}
		if w.tries > 1 {
			more[n], n = attribute.Int(tracing.Attempt, w.tries), n+1
		}
		w.endSpan(x, more[:n]...)
	}
	if w.meter != nil && w.in.clock == nil && !w.began.IsZero() {
		defer w.blind()
		class := tracing.ClassNone
		if err != nil {
			class = w.class(err)
		}
		w.meter.Processed(w.within(), w.tel.labelsOf(w.meter, w.in.place), time.Since(w.began), class)
	}
}

func (s *spans) forget() {
	if len(s.attrs) > 0 {
		clear(s.attrs[:cap(s.attrs)])
	}
	*s = spans{open: s.open[:0], attrs: s.attrs[:0]}
}

// blind stands behind every call to OpenTelemetry that a message makes: whatever panics there, a sampler, a
// propagator, an exporter, the message goes on, and nobody sees it any more.
func (w *work) blind() {
	p := recover()
	if p == nil {
		return
	}
	for _, x := range append([]openSpan{{Span: w.span}}, w.open...) {
		if x.Span != nil {
			_ = guard(func() error { x.End(); return nil })
		}
	}
	clear(w.open)
	w.spans = spans{tel: w.tel, open: w.open[:0], attrs: w.attrs[:0]}
	w.warn(noticeBlind, "tracing or measuring a message panicked, it goes on unseen", panicked(p))
}
