package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// A plainRouter is a Watermill router on Watermill's own GoChannel, traced by Config.Middleware and
// Config.Publisher alone.
type plainRouter struct {
	*message.Router

	t    *testing.T
	raw  message.Publisher // not traced
	pub  message.Publisher // traced
	sub  message.Subscriber
	over chan error
	once sync.Once
}

func newRouter(t *testing.T, c tracing.Config) *plainRouter {
	t.Helper()
	g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 100, BlockPublishUntilSubscriberAck: false}, watermill.NopLogger{})
	r := &plainRouter{t: t, Router: message.NewDefaultRouter(watermill.NopLogger{}), raw: g, pub: c.Publisher(g), sub: g, over: make(chan error, 1)}
	r.AddMiddleware(c.Middleware)
	t.Cleanup(func() { g.Close() })
	return r
}

// run runs the router until stop, or the end of the test.
func (r *plainRouter) run() {
	go func() { r.over <- r.Run(context.Background()) }()
	<-r.Running()
	r.t.Cleanup(r.stop)
}

// stop ends the router; every handler has then returned.
func (r *plainRouter) stop() {
	r.once.Do(func() {
		if err := errors.Join(r.Close(), <-r.over); err != nil {
			r.t.Error(err)
		}
	})
}

// end adds a handler to the topic "out" that hands over what it gets.
func (r *plainRouter) end() <-chan *message.Message {
	got := make(chan *message.Message, 10)
	r.AddConsumerHandler("end", "out", r.sub, func(m *message.Message) error {
		got <- m
		return nil
	})
	return got
}

// take waits for a message that a handler hands over.
func (r *plainRouter) take(from <-chan *message.Message) *message.Message {
	r.t.Helper()
	timer := time.NewTimer(time.Minute)
	defer timer.Stop()
	select {
	case m := <-from:
		return m
	case <-timer.C:
		r.t.Fatal("no message came in a minute")
		return nil
	}
}

// give publishes on the topic "in", as somebody who does not trace.
func (r *plainRouter) give(m *message.Message) {
	r.t.Helper()
	if err := r.raw.Publish("in", m); err != nil {
		r.t.Fatal(err)
	}
}

// one gives the one span of that name.
func one(t *testing.T, x *leattest.Traces, name string) leattest.Span {
	t.Helper()
	var found []leattest.Span
	for _, s := range x.Spans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %q among %d", len(found), name, len(x.Spans()))
	}
	return found[0]
}

// chain checks that each span is the only child of the one before it, in one trace.
func chain(t *testing.T, x *leattest.Traces, names ...string) {
	t.Helper()
	for i, name := range names[1:] {
		parent, s := one(t, x, names[i]), one(t, x, name)
		if s.Parent.SpanID() != parent.SpanContext.SpanID() || s.SpanContext.TraceID() != parent.SpanContext.TraceID() {
			t.Errorf("%s is no child of %s", name, names[i])
		}
	}
}

func pass(m *message.Message) ([]*message.Message, error) {
	return []*message.Message{message.NewMessage(m.UUID+"'", m.Payload)}, nil
}

// Two hops in a router without a flow: one trace, of processing and sending by turns.
func TestMiddleware(t *testing.T) {
	for name, handler := range map[string]message.HandlerFunc{
		"made anew": pass,
		"with the inbound metadata": func(m *message.Message) ([]*message.Message, error) {
			out, err := pass(m)
			maps.Copy(out[0].Metadata, m.Metadata)
			return out, err
		},
		"with the inbound context": func(m *message.Message) ([]*message.Message, error) {
			out, err := pass(m)
			out[0].SetContext(m.Context())
			return out, err
		},
		"the inbound message itself": func(m *message.Message) ([]*message.Message, error) {
			return []*message.Message{m}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := &leattest.Traces{}
			r := newRouter(t, x.Config())
			r.AddHandler("first", "in", r.sub, "middle", r.pub, handler)
			r.AddHandler("second", "middle", r.sub, "out", r.pub, handler)
			end := r.end()
			r.run()
			m := message.NewMessage("1", []byte("{}"))
			m.Metadata["traceparent"], m.Metadata["tracestate"], m.Metadata["baggage"] = far, "a=1", "b=2"
			r.give(m)
			got := r.take(end)
			r.stop()
			chain(t, x, "process in", "send middle", "process middle", "send out", "process out")
			in, out := one(t, x, "process in"), one(t, x, "send out")
			if in.Parent.SpanID().String() != farSpan || in.SpanKind != trace.SpanKindConsumer || out.SpanKind != trace.SpanKindProducer {
				t.Errorf("parent %v, kinds %v and %v", in.Parent.SpanID(), in.SpanKind, out.SpanKind)
			}
			for name, want := range map[string]string{
				tracing.System: "watermill", tracing.Destination: "in", tracing.OperationName: "process", tracing.OperationType: "process", tracing.MessageID: "1",
			} {
				if got := in.Get(name); got != want {
					t.Errorf("%s is %q; want %q", name, got, want)
				}
			}
			if want := "00-" + farTrace + "-" + out.SpanContext.SpanID().String() + "-01"; got.Metadata["traceparent"] != want {
				t.Errorf("the last message carries %q; want %s", got.Metadata["traceparent"], want)
			}
			if got.Metadata["tracestate"] != "a=1" || got.Metadata["baggage"] != "b=2" {
				t.Errorf("the last message carries %q", got.Metadata)
			}
		})
	}
}

// A handler that has a span of its own for what it sends: the send is below that.
func TestMiddlewareBelowASpanOfTheHandler(t *testing.T) {
	x := &leattest.Traces{}
	r := newRouter(t, x.Config())
	r.AddHandler("first", "in", r.sub, "out", r.pub, func(m *message.Message) ([]*message.Message, error) {
		ctx, span := x.Config().TracerProvider.Tracer("test").Start(m.Context(), "work")
		defer span.End()
		out := &message.Message{UUID: "2", Payload: m.Payload} // without metadata
		out.SetContext(ctx)
		return []*message.Message{out}, nil
	})
	end := r.end()
	r.run()
	m := message.NewMessage("1", []byte("{}"))
	m.Metadata["baggage"] = "b=2"
	r.give(m)
	got := r.take(end)
	r.stop()
	chain(t, x, "process in", "work", "send out", "process out")
	if got.Metadata["baggage"] != "b=2" {
		t.Errorf("it carries %q; want the baggage of the message", got.Metadata)
	}
}

// The inbound message goes on beside a copy of it: both are in the trace, below sends of their own.
func TestMiddlewareWithTheMessageAndACopy(t *testing.T) {
	x := &leattest.Traces{}
	r := newRouter(t, x.Config())
	r.AddHandler("first", "in", r.sub, "out", r.pub, func(m *message.Message) ([]*message.Message, error) {
		return []*message.Message{m, m.Copy()}, nil
	})
	end := r.end()
	r.run()
	m := message.NewMessage("1", []byte("{}"))
	m.Metadata["traceparent"] = far
	r.give(m)
	r.take(end)
	r.take(end)
	r.stop()
	sends := map[string]bool{}
	for _, s := range x.Spans() {
		if s.Name == "send out" && s.Parent.SpanID() == one(t, x, "process in").SpanContext.SpanID() {
			sends[s.SpanContext.SpanID().String()] = true
		}
	}
	for _, s := range x.Spans() {
		if s.Name == "process out" {
			delete(sends, s.Parent.SpanID().String())
		}
	}
	if len(x.Spans()) != 5 || len(sends) != 0 {
		t.Errorf("%d spans, %d sends that nobody processed; want 5, none", len(x.Spans()), len(sends))
	}
}

// What a new trace sends has nothing of the old one, even if the handler copies the metadata.
func TestMiddlewareBeginsATraceWithoutStaleState(t *testing.T) {
	x := &leattest.Traces{}
	c := x.Config()
	c.LinkHops = true
	r := newRouter(t, c)
	r.AddHandler("first", "in", r.sub, "out", r.pub, func(m *message.Message) ([]*message.Message, error) {
		out, err := pass(m)
		maps.Copy(out[0].Metadata, m.Metadata)
		return out, err
	})
	end := r.end()
	r.run()
	m := message.NewMessage("1", []byte("{}"))
	m.Metadata["traceparent"], m.Metadata["tracestate"], m.Metadata["x"] = far, "stale=1", "y"
	r.give(m)
	got := r.take(end)
	r.stop()
	// The state belongs to its trace, and a root has none.
	in := one(t, x, "process in")
	if in.SpanContext.TraceID().String() == farTrace || len(in.Links) != 1 {
		t.Errorf("trace %v, %d links; want a new one, linked", in.SpanContext.TraceID(), len(in.Links))
	}
	if got.Metadata["tracestate"] != in.SpanContext.TraceState().String() || got.Metadata["x"] != "y" {
		t.Errorf("it carries %q; want the new trace's state %q", got.Metadata, in.SpanContext.TraceState())
	}
}

// A message that its maker has given a context of its own keeps it.
func TestMiddlewareLeavesAnOwnContext(t *testing.T) {
	x := &leattest.Traces{}
	r := newRouter(t, x.Config())
	r.AddHandler("first", "in", r.sub, "out", r.pub, func(m *message.Message) ([]*message.Message, error) {
		out, err := pass(m)
		out[0].Metadata["traceparent"] = far
		return out, err
	})
	end := r.end()
	r.run()
	r.give(message.NewMessage("1", []byte("{}")))
	got := r.take(end)
	r.stop()
	if got.Metadata["traceparent"] != far {
		t.Errorf("it was replaced by %s", got.Metadata["traceparent"])
	}
	if s := one(t, x, "process out"); s.Parent.SpanID().String() != farSpan {
		t.Errorf("the next hop is a child of %v", s.Parent.SpanID())
	}
}

// again is a middleware that has a handler try a second time.
func again(h message.HandlerFunc) message.HandlerFunc {
	try := func(m *message.Message) (out []*message.Message, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			}
		}()
		return h(m)
	}
	return func(m *message.Message) ([]*message.Message, error) {
		if out, err := try(m); err == nil {
			return out, nil
		}
		return try(m)
	}
}

// An error and a panic are told of and go on to who handles them; each attempt of a
// retry outside is a span.
func TestMiddlewareFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func() error
		class string
	}{
		"error": {func() error { return errors.New("on purpose") }, "transient"},
		"panic": {func() error { panic("on purpose: s3cr3t") }, "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &leattest.Traces{}
			r := message.NewDefaultRouter(watermill.NopLogger{})
			g := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
			defer g.Close()
			r.AddMiddleware(again, x.Config().Middleware)
			n := 0
			done := make(chan trace.SpanContext, 1)
			r.AddConsumerHandler("h", "in", g, func(m *message.Message) error {
				if n++; n == 1 {
					return c.fail()
				}
				done <- trace.SpanContextFromContext(m.Context())
				return nil
			})
			over := make(chan error, 1)
			go func() { over <- r.Run(context.Background()) }()
			<-r.Running()
			m := message.NewMessage("1", []byte("{}"))
			m.Metadata["traceparent"] = far
			if err := g.Publish("in", m); err != nil {
				t.Fatal(err)
			}
			seen := <-done
			if err := errors.Join(r.Close(), <-over); err != nil {
				t.Fatal(err)
			}
			spans := x.Spans()
			if len(spans) != 2 {
				t.Fatalf("%d spans; want one for each attempt", len(spans))
			}
			if s := spans[0]; s.Status.Code != codes.Error || s.Get(tracing.ErrorType) != c.class || strings.Contains(s.Status.Description, "s3cr3t") {
				t.Errorf("the first attempt: %v, class %s", s.Status, s.Get(tracing.ErrorType))
			}
			if s := spans[1]; s.Status.Code == codes.Error || s.SpanContext.SpanID() != seen.SpanID() || s.Parent.SpanID().String() != farSpan {
				t.Errorf("the second attempt: %+v", s)
			}
		})
	}
}

// A publish that fails is told of by the spans of what was not published.
func TestPublisherFailures(t *testing.T) {
	x := &leattest.Traces{}
	g := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	pub := x.Config().Publisher(g)
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	m := &message.Message{UUID: "1"} // without metadata
	if err := pub.Publish("out", m, message.NewMessage("2", nil)); err == nil {
		t.Fatal("no error of a publisher that is closed")
	}
	spans := x.Spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans; want 2", len(spans))
	}
	for _, s := range spans {
		if s.Get(tracing.ErrorType) != "publish" || s.Status.Code != codes.Error {
			t.Errorf("%s: %v", s.Get(tracing.MessageID), s.Status)
		}
	}
}

// Without an SDK both do nothing, and messages are as they were.
func TestPlainRouterOff(t *testing.T) {
	r := newRouter(t, tracing.Config{Off: true})
	r.AddHandler("first", "in", r.sub, "out", r.pub, pass)
	end := r.end()
	r.run()
	m := message.NewMessage("1", []byte("{}"))
	m.Metadata["traceparent"] = far
	r.give(m)
	if got := r.take(end); len(got.Metadata) != 0 {
		t.Errorf("metadata %q; want what the handler made", got.Metadata)
	}
}

// A flow in the same router needs no middleware; with it, its spans are inside of the middleware's, and it
// looks through a traced publisher: one send for each message.
func TestMiddlewareAroundAFlow(t *testing.T) {
	x := &leattest.Traces{}
	r := newRouter(t, x.Config())
	const in, out channel.Topic[string] = "in", "out"
	ended := make(chan *message.Message, 1)
	f, err := flow.New("f", flow.Step("map", in, translator.Map(func(s string) (string, error) { return s, nil }, out)),
		flow.Step("end", out, endpoint.DoMessage(func(m channel.Message[string]) error {
			w := message.NewMessage(m.ID(), nil)
			w.SetContext(m.Context())
			ended <- w
			return nil
		})), flow.Policy{DeadLetter: "dead"}, flow.Tracing(x.Config()))
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.AddTo(r.Router, r.pub, r.sub)
	if err != nil {
		t.Fatal(err)
	}
	r.run()
	r.give(message.NewMessage("1", []byte(`"x"`)))
	seen := trace.SpanContextFromContext(r.take(ended).Context())
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.stop()
	below := map[trace.SpanID]leattest.Span{}
	var names []string
	for _, s := range x.Spans() {
		below[s.Parent.SpanID()] = s
	}
	var last leattest.Span
	for s, ok := below[trace.SpanID{}]; ok; s, ok = below[s.SpanContext.SpanID()] {
		names = append(names, s.Name+" "+s.Get(tracing.Step))
		last = s
	}
	if got, want := strings.Join(names, ", "), "process in , process in map, send out map, process out , process out end"; got != want {
		t.Errorf("the trace is %s; want %s", got, want)
	}
	if len(x.Spans()) != 5 || seen.SpanID() != last.SpanContext.SpanID() {
		t.Errorf("%d spans; code sees %v, and not its own", len(x.Spans()), seen.SpanID())
	}
}
