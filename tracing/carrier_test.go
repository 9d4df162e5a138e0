package tracing_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/leattest"
)

func names(fs channel.Fields) (names []string) {
	for _, f := range fs {
		names = append(names, f.Name)
	}
	return names
}

// What leaves carries its own context and nothing of another's; all else stays in its order.
func TestInject(t *testing.T) {
	x := &leattest.Traces{}
	tr := tracer(t, x, nil)
	ctx, span := tr.Leaving(context.Background(), place)
	defer span.End()
	fs := tr.Inject(ctx, channel.Fields{
		{Name: "a", Value: "1"},
		{Name: "traceparent", Value: far},
		{Name: "b", Value: "2"},
		{Name: "tracestate", Value: "stale=1"},
		{Name: "a", Value: "3"},
		{Name: "traceparent", Value: far},
		{Name: "baggage", Value: "stale=1"},
		{Name: "Traceparent", Value: "x"},
	})
	if got := names(fs); !slices.Equal(got, []string{"a", "b", "a", "Traceparent", "traceparent"}) {
		t.Errorf("headers %q", got)
	}
	if got := fs.Get("traceparent"); !strings.Contains(got, span.SpanContext().SpanID().String()) || fs.Get("a") != "3" {
		t.Errorf("it carries %s, a is %s", got, fs.Get("a"))
	}
	if got := names(tr.Inject(context.Background(), channel.Fields{{Name: "a", Value: "1"}, {Name: "tracestate", Value: "stale=1"}})); !slices.Equal(got, []string{"a"}) {
		t.Errorf("without a span: %q", got)
	}
	carried := tr.Carry(ctx)
	if got := tr.Replace(channel.Fields{{Name: "tracestate", Value: "stale=1"}, {Name: "a", Value: "1"}}, carried); !slices.Equal(names(got), []string{"a", "traceparent"}) {
		t.Errorf("replaced: %q", got)
	}
	if got := tr.Carry(context.Background()); got != nil {
		t.Errorf("what has no context carries %q", got)
	}
}

// State that is the trace's goes on with it.
func TestInjectKeepsStateAndBaggage(t *testing.T) {
	tr := tracer(t, &leattest.Traces{}, nil)
	in := arriving("traceparent", far, "tracestate", "a=1", "baggage", "b=2")
	ctx, span := tr.Arrived(context.Background(), in, place, true)
	defer span.End()
	fs := tr.Inject(ctx, channel.Fields{{Name: "traceparent", Value: far}, {Name: "tracestate", Value: "a=1"}, {Name: "baggage", Value: "b=2"}})
	if fs.Get("tracestate") != "a=1" || fs.Get("baggage") != "b=2" || !strings.HasPrefix(fs.Get("traceparent"), far[:36]) || fs.Get("traceparent") == far {
		t.Errorf("headers %q", fs)
	}
	x := channel.NewEntry("1", "", tr.Carry(ctx), []byte("{}"))
	if got := tr.ContextOf(&x); got.SpanID() != span.SpanContext().SpanID() || got.TraceState().String() != "a=1" {
		t.Errorf("an entry carries %v", got)
	}
}

// A context is a delivery's own if its maker has set it, and not if it has it from its cause.
func TestForeign(t *testing.T) {
	tr := tracer(t, &leattest.Traces{}, nil)
	other := "00-" + strings.Repeat("1", 32) + "-" + strings.Repeat("2", 16) + "-01"
	for name, c := range map[string]struct {
		cause []string
		set   string
		want  bool
	}{
		"nothing":                {nil, "", false},
		"its cause's":            {[]string{"traceparent", far}, "", false},
		"a copy of its cause's":  {[]string{"traceparent", far}, far, false},
		"its own":                {nil, other, true},
		"another than its cause": {[]string{"traceparent", far}, other, true},
	} {
		d := channel.To("out", 1)
		if c.set != "" {
			d = d.Set("traceparent", c.set)
		}
		var e channel.Envelope
		e.Follow(arriving(c.cause...), &d, 0, "")
		if got := tr.Foreign(&e); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A single is a propagator that is not W3C's: one header, as B3's short form has it.
type single struct{}

func (single) Fields() []string { return []string{"b3"} }

func (single) Inject(ctx context.Context, c propagation.TextMapCarrier) {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		c.Set("b3", sc.TraceID().String()+"-"+sc.SpanID().String()+"-"+sc.TraceFlags().String()[1:])
	}
}

func (single) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	parts := strings.Split(c.Get("b3"), "-")
	if len(parts) != 3 {
		return ctx
	}
	id, err := trace.TraceIDFromHex(parts[0])
	if err != nil {
		return ctx
	}
	span, err := trace.SpanIDFromHex(parts[1])
	if err != nil {
		return ctx
	}
	config := trace.SpanContextConfig{TraceID: id, SpanID: span}
	if parts[2] == "1" {
		config.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(config))
}

// Breaks if any part of the way knows W3C's headers by name.
func TestAPropagatorOfOnesOwn(t *testing.T) {
	x := &leattest.Traces{}
	c := x.Config()
	c.Propagator = single{}
	r := newRouter(t, c)
	r.AddHandler("copy", "in", r.sub, "out", r.pub, func(m *message.Message) ([]*message.Message, error) {
		out := message.NewMessage("2", m.Payload)
		maps.Copy(out.Metadata, m.Metadata)
		return []*message.Message{out}, nil
	})
	end := r.end()
	r.run()
	in := message.NewMessage("1", []byte("{}"))
	in.Metadata["b3"] = farTrace + "-" + farSpan + "-1"
	in.Metadata["traceparent"] = "somebody else's"
	r.give(in)
	got := r.take(end)
	r.stop()
	send := one(t, x, "send out")
	if want := farTrace + "-" + send.SpanContext.SpanID().String() + "-1"; got.Metadata["b3"] != want || got.Metadata["traceparent"] != "somebody else's" {
		t.Errorf("it carries %q; want b3 %s", got.Metadata, want)
	}
	if s := one(t, x, "process out"); s.Parent.SpanID() != send.SpanContext.SpanID() {
		t.Error("the next hop is not a child of the send")
	}
}
