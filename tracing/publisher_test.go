package tracing_test

import (
	"context"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// A shelf is a publisher that keeps the context each topic's message has in its headers.
type shelf struct {
	mu sync.Mutex
	on map[string][]string
}

func (s *shelf) Publish(topic string, ms ...*message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on == nil {
		s.on = map[string][]string{}
	}
	for _, m := range ms {
		s.on[topic] = append(s.on[topic], m.Metadata["traceparent"])
	}
	return nil
}

func (*shelf) Close() error { return nil }

func header(s leattest.Span) string {
	return "00-" + s.SpanContext.TraceID().String() + "-" + s.SpanContext.SpanID().String() + "-" + s.SpanContext.TraceFlags().String()
}

// Breaks if the first publish of a message writes its send into the message: the second, to another topic,
// then leaves with the context of the first.
func TestPublisherOfOneMessageToTwoTopics(t *testing.T) {
	x, on := &leattest.Traces{}, &shelf{}
	pub, m := x.Config().Publisher(on), message.NewMessage("1", nil)
	for _, topic := range []string{"a", "b"} {
		if err := pub.Publish(topic, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, topic := range []string{"a", "b"} {
		if got, want := on.on[topic], header(one(t, x, "send "+topic)); len(got) != 1 || got[0] != want {
			t.Errorf("what is on %s carries %q; want its own send, %s", topic, got, want)
		}
	}
	if len(m.Metadata) != 0 {
		t.Errorf("the caller's message has become %v", m.Metadata)
	}
}

// Breaks, with -race, if a publish writes into a message that another publishes at the same time.
func TestPublisherOfOneMessageAtTheSameTime(t *testing.T) {
	x, on := &leattest.Traces{}, &shelf{}
	pub, m := x.Config().Publisher(on), message.NewMessage("1", nil)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if err := pub.Publish("a", m); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := on.on["a"]; len(got) != 2 || got[0] == got[1] {
		t.Errorf("what is on a carries %q; want two sends", got)
	}
}

// Breaks if the send of a message that has its context in the metadata alone, as one that was read and is
// passed on by hand, begins a trace of its own.
func TestPublisherOfAContextInTheMetadata(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	x := &leattest.Traces{}
	m := message.NewMessage("1", nil)
	m.Metadata["traceparent"] = "00-" + trace + "-" + span + "-01"
	if err := x.Config().Publisher(&shelf{}).Publish("a", m); err != nil {
		t.Fatal(err)
	}
	if s := one(t, x, "send a"); s.SpanContext.TraceID().String() != trace || s.Parent.SpanID().String() != span {
		t.Errorf("the send is below %v of the trace %v; want %s of %s", s.Parent.SpanID(), s.SpanContext.TraceID(), span, trace)
	}
}

// A mine is an exporter that panics at the end of every span.
type mine struct{}

func (mine) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (mine) OnEnd(sdktrace.ReadOnlySpan)                     { panic("exporter") }
func (mine) Shutdown(context.Context) error                  { return nil }
func (mine) ForceFlush(context.Context) error                { return nil }

// A trap is a propagator that panics.
type trap struct{ propagation.TraceContext }

func (trap) Inject(context.Context, propagation.TextMapCarrier) { panic("inject") }

func (trap) Extract(context.Context, propagation.TextMapCarrier) context.Context { panic("extract") }

// Breaks if what panics in OpenTelemetry goes through a plain router: the handler then acts again, or a
// message is published that its caller takes for lost.
func TestPlainRouterWithTracingThatPanics(t *testing.T) {
	for name, c := range map[string]tracing.Config{
		"exporter":   {TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(mine{}))},
		"propagator": {TracerProvider: sdktrace.NewTracerProvider(), Propagator: trap{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, c)
			acted := 0
			r.AddHandler("pass", "in", r.sub, "out", r.pub, func(m *message.Message) ([]*message.Message, error) {
				acted++
				return pass(m)
			})
			end := r.end()
			r.run()
			in := message.NewMessage("1", nil)
			in.Metadata["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			r.give(in)
			if got := r.take(end); got.UUID != "1'" {
				t.Errorf("message %s came; want 1'", got.UUID)
			}
			r.stop() // every handler has returned: a second delivery would have come before
			if acted != 1 || len(end) != 0 {
				t.Errorf("the handler has acted %d times, %d more came; want once and none", acted, len(end))
			}

			on := &shelf{}
			if err := c.Publisher(on).Publish("a", message.NewMessage("2", nil)); err != nil || len(on.on["a"]) != 1 {
				t.Errorf("published %d times, error %v; want once", len(on.on["a"]), err)
			}
			h := c.Middleware(func(*message.Message) ([]*message.Message, error) { return nil, nil })
			if _, err := h(message.NewMessage("3", nil)); err != nil {
				t.Errorf("the middleware makes an error of it, and the message is not acknowledged: %v", err)
			}
		})
	}
}
