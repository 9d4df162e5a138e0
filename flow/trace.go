package flow

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
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

	base    context.Context //nolint:containedctx // The message's, with its span; nil: not begun.
	span    trace.Span      // nil: none
	open    []trace.Span    // inside of it
	traced  bool            // somebody sees what is computed now
	fed     bool            // handed in by a caller, whose span it continues
	began   time.Time       // of a clock: the attempt
	sentAt  time.Time
	group   context.Context //nolint:containedctx // Of the aggregate that is delivered; nil: none.
	carried channel.Fields  // what unseen messages that leave have
	carrier trace.SpanContext
}

// watch begins to watch a work.
func (w *work) watch(t *telemetry, a *channel.Arrival) {
	w.tel, w.tracer, w.meter, w.fed = t, t.Tracer(), t.meter(), a.HasBody
	if w.tracer != nil {
		a.Carry = w.tracer.Carrier()
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
	tick := w.in.clock != nil
	if w.began.IsZero() || tick {
		w.began = time.Now()
		if w.meter != nil && !tick && !w.fed {
			w.meter.Consumed(w.ctx, w.tel.labels[w.in.place])
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
		ctx, span := t.Inside(w.env.Context(), &tracing.Place{Name: tracing.OpAttempt, Attributes: []attribute.KeyValue{
			attribute.String(tracing.Flow, w.flow.name), attribute.String(tracing.Step, w.in.step.name), attribute.Int(tracing.Attempt, w.tries),
		}})
		w.env.SetContext(ctx)
		w.open = append(w.open, span)
	}
}

func (w *work) arrive() {
	switch t := w.tracer; {
	case w.in.isSource():
		w.base, w.span = t.Handed(w.ctx, w.in.step.said)
	case w.fed:
		w.base, w.span = t.Handed(w.ctx, w.in.place)
	default:
		w.base, w.span = t.Arrived(w.ctx, &w.env, w.in.place)
	}
	w.env.SetContext(w.base)
	if w.span.IsRecording() {
		w.describe(w.span, &w.env)
	}
}

// fire gives a clock that has something to say its span, at last.
func (w *work) fire() {
	if w.base != nil || w.tracer == nil || w.in.clock == nil {
		return
	}
	w.base, w.span = w.tracer.Time(w.ctx, w.in.place, w.began)
	w.traced = w.span.IsRecording()
}

func (w *work) describe(span trace.Span, e *channel.Envelope) {
	if w.in.isSource() && e == &w.env {
		return // it is no message yet
	}
	conversation := e.Get(channel.HeaderConversation)
	if conversation == "" {
		conversation = e.Root().ID()
	}
	w.tracer.Describe(span, e.ID(), conversation)
}

// enter begins the span of a step behind a direct hop.
func (w *work) enter(e *channel.Envelope, in *inlet) {
	ctx, span := w.tracer.Inside(e.Context(), in.place)
	e.SetContext(ctx)
	w.open = append(w.open, span)
	if span.IsRecording() {
		w.describe(span, e)
	}
}

// relate begins the span of an aggregate, if that is what the step sends, or of a clock that sends
// something else.
func (w *work) relate(e *channel.Envelope, in *inlet, r *channel.Result) {
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
		w.group, w.open = ctx, append(w.open, span)
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
	if direct && len(w.open) > depth {
		outcome(w.open[depth], r.Outcome(), r.Reason())
	}
	for i := len(w.open) - 1; i >= depth; i-- {
		w.open[i].End()
	}
	w.open = w.open[:depth]
}

// outcome says what a message came to.
func outcome(span trace.Span, o channel.Outcome, reason string) {
	if !span.IsRecording() {
		return
	}
	if o == channel.Dropped {
		span.SetAttributes(attribute.String(tracing.Outcome, outcomeName(o)), attribute.String(tracing.Reason, tracing.Text(reason)))
		return
	}
	span.SetAttributes(attribute.String(tracing.Outcome, outcomeName(o)))
}

// attempted ends what an attempt has begun. If it failed, that is said where it did.
func (w *work) attempted(err error) {
	for i := len(w.open) - 1; i >= 0; i-- {
		if err != nil {
			w.fail(w.open[i], err)
		}
		w.open[i].End()
	}
	w.open = w.open[:0]
	if err != nil { // whatever is done about it is done for the message
		w.group, w.traced = nil, w.span != nil && w.span.IsRecording()
	}
}

func (w *work) fail(span trace.Span, err error) {
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
func (w *work) depart(ctx context.Context, o *adapters.Outgoing, n *node, foreign bool) {
	t := w.tracer
	if !n.traced {
		if !foreign {
			o.Headers = w.carry(ctx, o.Headers)
		}
		o.Context = trace.ContextWithSpan(w.ctx, trace.SpanFromContext(ctx))
		return
	}
	ctx, n.span = t.Leaving(ctx, n.place)
	o.Context = trace.ContextWithSpan(w.ctx, n.span)
	if !foreign {
		o.Headers = t.Inject(ctx, o.Headers)
	}
	if !n.span.IsRecording() {
		return
	}
	conversation := o.Headers.Get(channel.HeaderConversation)
	if conversation == "" {
		conversation = o.ID
	}
	t.Describe(n.span, o.ID, conversation)
	if n.pattern {
		n.span.SetAttributes(attribute.String(tracing.Destination, tracing.Text(o.Topic)))
	}
}

// carry is Inject for what nobody sees: all that leaves has the same.
func (w *work) carry(ctx context.Context, headers channel.Fields) channel.Fields {
	sc := trace.SpanContextFromContext(ctx)
	if !w.carrier.Equal(sc) {
		w.carrier, w.carried = sc, w.tracer.Carrier()(ctx)
	}
	return w.tracer.Replace(headers, w.carried)
}

// undated is the message's context without deadlines, with the span of ctx.
func (w *work) undated(ctx context.Context) context.Context {
	if w.tracer == nil {
		return w.ctx
	}
	return trace.ContextWithSpan(w.ctx, trace.SpanFromContext(ctx))
}

// letter begins the span of a dead letter: a child of what failed, linked to where the entry itself was.
func (w *work) letter(o *adapters.Outgoing, n *node, x *channel.Entry) {
	w.depart(w.failedContext(), o, n, false)
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
		return trace.ContextWithSpan(w.ctx, w.open[n-1])
	}
	return w.within()
}

// sent ends the span of a message that was published, or will not be.
func (w *work) sent(o *adapters.Outgoing, err error) {
	n, ok := o.Owner.(*node)
	if !ok {
		return
	}
	if n.span != nil {
		if err != nil && n.span.IsRecording() {
			tracing.Fail(n.span, tracing.ClassPublish, channel.Reason(err))
		}
		n.span.End()
		n.span = nil
	}
}

// resent notes on the spans of what could not be published that it is tried again.
func (w *work) resent(after time.Duration) {
	if w.tracer == nil {
		return
	}
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
	class := tracing.ClassNone
	if o.Err != nil {
		class = tracing.ClassPublish
	}
	w.meter.Sent(w.ctx, w.tel.labels[n.place], time.Since(w.sentAt), class)
}

// ended ends the span of a message that is finished.
func (w *work) ended() {
	name, reason := outcomeName(w.res.Outcome()), ""
	var err error
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
		if w.span.IsRecording() {
			if err != nil {
				w.fail(w.span, err)
			}
			w.span.SetAttributes(attribute.String(tracing.Outcome, name))
			if reason != "" {
				w.span.SetAttributes(attribute.String(tracing.Reason, tracing.Text(reason)))
			}
			if w.tries > 1 {
				w.span.SetAttributes(attribute.Int(tracing.Attempt, w.tries))
			}
		}
		w.span.End()
	}
	if w.meter != nil && w.in.clock == nil && !w.began.IsZero() {
		class := tracing.ClassNone
		if err != nil {
			class = w.class(err)
		}
		w.meter.Processed(w.ctx, w.tel.labels[w.in.place], time.Since(w.began), class)
	}
}

func (s *spans) forget() {
	*s = spans{open: s.open[:0]}
}
