package tracing

import (
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"
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
	ctx, span := was, trace.SpanFromContext(context.Background())
	guard(func() {
		topic := message.SubscribeTopicFromCtx(was)
		p := place(OpProcess, topic)
		var e channel.Envelope
		e.Arrive(&channel.Arrival{Context: was, Topic: topic, ID: m.UUID, Headers: channel.Metadata(m.Metadata), Payload: m.Payload})
		ctx, span = t.Arrived(was, &e, p, true) //nolint:fatcontext // It is called once.
		if span.IsRecording() {
			span.SetAttributes(t.Describe(nil, p, m.UUID, m.Metadata[channel.HeaderConversation])...)
		}
	})
	m.SetContext(context.WithValue(ctx, processing{}, m.Metadata[channel.HeaderPutBack]))
	ended := false
	defer func() {
		m.SetContext(was)
		if slices.Contains(out, m) { // it goes on, and its send is below this span
			m.SetContext(trace.ContextWithSpan(was, span))
		}
		guard(func() {
			if !ended {
				Fail(span, ClassPanic, "panic")
			}
			span.End()
		})
	}()
	out, err = h(m)
	ended = true
	guard(func() {
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
	})
	return out, err
}

// guard stands around calls to OpenTelemetry: what panics there, an exporter, a propagator, is nobody's
// message's fault.
func guard(f func()) {
	defer func() {
		if r := recover(); r != nil {
			otel.Handle(fmt.Errorf("tracing a message: panic: %v", r))
		}
	}()
	f()
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
	sends, copies := make([]trace.Span, 0, len(ms)), make([]*message.Message, 0, len(ms))
	for _, in := range ms {
		m := in.Copy() // the caller may publish the same message elsewhere, even at the same time
		m.SetContext(in.Context())
		guard(func() { sends = append(sends, t.leave(topic, m)) })
		copies = append(copies, m)
	}
	err := x.pub.Publish(topic, copies...)
	for _, span := range sends {
		guard(func() {
			if err != nil {
				Fail(span, ClassPublish, channel.Reason(err))
			}
			span.End()
		})
	}
	return err //nolint:wrapcheck // As above.
}

// leave begins the send of a message: below the context that it brings, else below that of its Context.
func (t *Tracer) leave(topic string, m *message.Message) trace.Span {
	if m.Metadata == nil {
		m.Metadata = message.Metadata{}
	}
	ctx, foreign := m.Context(), t.foreign(m)
	if foreign {
		ctx, _ = t.extract(ctx, metadata(m.Metadata))
	}
	p := place(OpSend, topic)
	ctx, span := t.Leaving(ctx, p)
	if span.IsRecording() {
		span.SetAttributes(t.Describe(nil, p, m.UUID, m.Metadata[channel.HeaderConversation])...)
	}
	if !foreign {
		t.prop.Inject(ctx, metadata(m.Metadata))
	}
	return span
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
