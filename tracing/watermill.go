package tracing

import (
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
)

// processing marks the context of a message whose processing has a span.
type processing struct{}

// Middleware makes a process span around the handlers of a plain Watermill router, in the trace of the
// message, and has what they produce go on in it. A flow in the same router (flow.AddTo, flow.Handler)
// needs no middleware; with it, its spans are inside of this one's. It is safe for concurrent use.
//
//	r.AddMiddleware(tracing.Config{}.Middleware)
func (c Config) Middleware(h message.HandlerFunc) message.HandlerFunc {
	t := New(c, watermillSystem)
	return func(m *message.Message) ([]*message.Message, error) {
		x := t.Tracer()
		if x == nil {
			return h(m)
		}
		return x.handle(m, h)
	}
}

const watermillSystem = "watermill"

func (t *Tracer) handle(m *message.Message, h message.HandlerFunc) (out []*message.Message, err error) {
	was := m.Context()
	topic := message.SubscribeTopicFromCtx(was)
	var e channel.Envelope
	e.Arrive(&channel.Arrival{Context: was, Topic: topic, ID: m.UUID, Headers: channel.Metadata(m.Metadata), Payload: m.Payload})
	p := place(OpProcess, topic)
	ctx, span := t.Arrived(was, &e, p, true)
	if span.IsRecording() {
		span.SetAttributes(t.Describe(nil, p, m.UUID, m.Metadata[channel.HeaderConversation])...)
	}
	m.SetContext(context.WithValue(ctx, processing{}, span))
	defer func() {
		m.SetContext(was)
		if slices.Contains(out, m) { // it goes on, and its send is below this span
			m.SetContext(trace.ContextWithSpan(was, span))
		}
		if p := recover(); p != nil {
			Fail(span, ClassPanic, "panic")
			span.End()
			panic(p) //nolint:forbidigo // It is the router's to recover.
		}
		span.End()
	}()
	out, err = h(m)
	if err != nil {
		Fail(span, ClassTransient, channel.Reason(err))
	}
	for _, p := range out {
		if p != m {
			t.pass(ctx, m, p)
		}
	}
	if slices.Contains(out, m) { // after the others, which are compared with it
		t.pass(ctx, m, m)
	}
	return out, err
}

// pass has a message that a handler has made go on in the trace of ctx: below the handler's span, or one
// that the handler has begun for it.
func (t *Tracer) pass(ctx context.Context, in, out *message.Message) {
	if t.own(metadata(out.Metadata), in.Metadata) {
		return
	}
	if s := trace.SpanFromContext(out.Context()); s.SpanContext().IsValid() {
		ctx = trace.ContextWithSpan(ctx, s)
	} else {
		out.SetContext(trace.ContextWithSpan(out.Context(), trace.SpanFromContext(ctx)))
	}
	if out.Metadata == nil {
		out.Metadata = message.Metadata{}
	}
	bag := out.Metadata[baggageName]
	for _, name := range t.fields {
		delete(out.Metadata, name)
	}
	t.prop.Inject(ctx, metadata(out.Metadata))
	if bag != "" && bag != in.Metadata[baggageName] { // the handler's own
		out.Metadata[baggageName] = bag
	}
}

// place is that of a topic that no flow has declared.
func place(op, topic string) *Place {
	topic = Text(topic) // it may come from a message
	return &Place{Name: op + " " + topic, Attributes: []attribute.KeyValue{
		attribute.String(OperationName, op), attribute.String(OperationType, op), attribute.String(Destination, topic),
	}}
}

// own reports that a message brings a context that it has not copied from its cause. Baggage alone is none.
func (t *Tracer) own(out metadata, in message.Metadata) bool {
	for _, name := range t.fields {
		if v := out[name]; v != "" && v != in[name] && name != baggageName {
			return true
		}
	}
	return false
}

// Publisher makes a send span for every message that a plain Watermill router, or anybody else,
// publishes, and has it travel in the message's headers. The span is a child of that in the message's
// context. A flow makes its own spans: give it the publisher itself, or this one, which it looks
// through. It is safe for concurrent use if pub is.
func (c Config) Publisher(pub message.Publisher) message.Publisher {
	return &publisher{pub: pub, telemetry: New(c, watermillSystem)}
}

type publisher struct {
	pub       message.Publisher
	telemetry *Telemetry
}

// Unwrap gives the publisher that this one stands before.
func (x *publisher) Unwrap() message.Publisher { return x.pub }

// Publish publishes messages, each in a span.
func (x *publisher) Publish(topic string, ms ...*message.Message) error {
	t := x.telemetry.Tracer()
	if t == nil {
		return x.pub.Publish(topic, ms...) //nolint:wrapcheck // Nothing is to be added.
	}
	p, spans := place(OpSend, topic), make([]trace.Span, 0, len(ms))
	for _, m := range ms {
		if m.Metadata == nil {
			m.Metadata = message.Metadata{}
		}
		ctx, span := t.Leaving(m.Context(), p)
		if span.IsRecording() {
			span.SetAttributes(t.Describe(nil, p, m.UUID, m.Metadata[channel.HeaderConversation])...)
		}
		if !t.foreign(m) {
			t.prop.Inject(ctx, metadata(m.Metadata))
		}
		spans = append(spans, span)
	}
	err := x.pub.Publish(topic, ms...)
	for _, span := range spans {
		if err != nil {
			Fail(span, ClassPublish, channel.Reason(err))
		}
		span.End()
	}
	return err //nolint:wrapcheck // As above.
}

// foreign reports that a message brings another context than that of its own Context.
func (t *Tracer) foreign(m *message.Message) bool {
	_, sc := t.extract(context.Background(), metadata(m.Metadata))
	return sc.IsValid() && !sc.Equal(trace.SpanContextFromContext(m.Context()).WithRemote(true))
}

// Close closes the publisher.
func (x *publisher) Close() error {
	if err := x.pub.Close(); err != nil {
		return fmt.Errorf("closing a traced publisher: %w", err)
	}
	return nil
}

// Untraced gives the publisher below those that Config.Publisher has made. For drivers, which make spans
// of their own.
func Untraced(pub message.Publisher) message.Publisher {
	for {
		p, ok := pub.(*publisher)
		if !ok {
			return pub
		}
		pub = p.pub
	}
}
