package tracing_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// A context that comes from elsewhere.
const (
	farTrace = "0af7651916cd43dd8448eb211c80319c"
	farSpan  = "b7ad6b7169203331"
	far      = "00-" + farTrace + "-" + farSpan + "-01"
)

var place = &tracing.Place{Name: "process orders"}

// tracer gives a tracer to x. change changes how it traces; nil: not at all.
func tracer(t *testing.T, x *leattest.Traces, change func(*tracing.Config)) *tracing.Tracer {
	t.Helper()
	c := x.Config()
	if change != nil {
		change(&c)
	}
	tr := tracing.New(c, "memory").Tracer()
	if tr == nil {
		t.Fatal("no tracer for an SDK")
	}
	return tr
}

// arriving is the envelope of a message with headers: name, value, name, value.
func arriving(headers ...string) *channel.Envelope {
	var fs channel.Fields
	for i := 0; i+1 < len(headers); i += 2 {
		fs = append(fs, channel.Field{Name: headers[i], Value: headers[i+1]})
	}
	var e channel.Envelope
	e.Arrive(&channel.Arrival{Context: context.Background(), Topic: "orders", ID: "1", Headers: fs, Payload: []byte("{}")})
	return &e
}

// relations ends a span and says whose child it is, and what it is linked to: "root", "child of far",
// "child of local", "root, linked to far".
func relations(t *testing.T, x *leattest.Traces, span trace.Span, local trace.SpanContext) string {
	t.Helper()
	span.End()
	name := func(sc trace.SpanContext) string {
		switch {
		case sc.SpanID().String() == farSpan && sc.TraceID().String() == farTrace:
			return "far"
		case sc.SpanID() == local.SpanID() && sc.TraceID() == local.TraceID():
			return "local"
		}
		return "a stranger"
	}
	spans := x.Spans()
	s := spans[len(spans)-1]
	text := "root"
	if s.Parent.IsValid() {
		text = "child of " + name(s.Parent)
		if s.Parent.TraceID() != s.SpanContext.TraceID() {
			text += ", in another trace"
		}
	}
	for _, l := range s.Links {
		text += ", linked to " + name(l.SpanContext)
	}
	return text
}

// Whose child a message's span is, by its headers, its context and the options.
func TestArrived(t *testing.T) {
	linkHops := func(c *tracing.Config) { c.LinkHops = true }
	follow := func(c *tracing.Config) { c.FollowReplays = true }
	local := func(ctx context.Context, x *leattest.Traces) context.Context {
		ctx, span := x.Config().TracerProvider.Tracer("test").Start(ctx, "local")
		t.Cleanup(func() { span.End() })
		return ctx
	}
	here := func(x *leattest.Traces) context.Context { return local(context.Background(), x) } // a span of another trace
	within := func(x *leattest.Traces) context.Context {                                       // a span of the message's trace
		id, err := trace.TraceIDFromHex(farTrace)
		if err != nil {
			t.Fatal(err)
		}
		sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{7}, TraceFlags: trace.FlagsSampled})
		return local(trace.ContextWithRemoteSpanContext(context.Background(), sc), x)
	}
	for name, c := range map[string]struct {
		headers []string
		ctx     func(*leattest.Traces) context.Context // nil: none
		foreign bool                                   // ctx is not the message's own
		change  func(*tracing.Config)
		want    string
	}{
		"nothing":                               {want: "root"},
		"no header, and a span in the context":  {ctx: here, want: "root"},
		"a header":                              {headers: []string{"traceparent", far}, want: "child of far"},
		"a header, and a span of another trace": {headers: []string{"traceparent", far}, ctx: here, want: "child of far"},
		"a header, and a span of its trace":     {headers: []string{"traceparent", far}, ctx: within, want: "child of local"},
		"a header, and a span of its trace that is not the message's": {
			headers: []string{"traceparent", far}, ctx: within, foreign: true, want: "child of far",
		},
		"put back": {
			headers: []string{"traceparent", far, channel.HeaderPutBack, "x"}, want: "root, linked to far",
		},
		"put back, followed": {
			headers: []string{"traceparent", far, channel.HeaderPutBack, "x"}, change: follow, want: "child of far",
		},
		"put back without a trace":        {headers: []string{channel.HeaderPutBack, "x"}, want: "root"},
		"linked hops":                     {headers: []string{"traceparent", far}, change: linkHops, want: "root, linked to far"},
		"linked hops, with a span around": {headers: []string{"traceparent", far}, ctx: here, change: linkHops, want: "root, linked to far"},
		"linked hops without a trace":     {change: linkHops, want: "root"},
	} {
		t.Run(name, func(t *testing.T) {
			x := &leattest.Traces{}
			ctx := context.Background()
			if c.ctx != nil {
				ctx = c.ctx(x)
			}
			in, span := tracer(t, x, c.change).Arrived(ctx, arriving(c.headers...), place, !c.foreign)
			if trace.SpanFromContext(in) != span {
				t.Error("the context it gives has not the span")
			}
			if got := relations(t, x, span, trace.SpanContextFromContext(ctx)); got != c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
		})
	}
}

// What cannot be read begins a trace, and is nobody's error; baggage beside it is kept.
func TestArrivedWithAMalformedContext(t *testing.T) {
	for name, tp := range map[string]string{
		"empty":            "",
		"a word":           "none",
		"too short":        far[:54],
		"too long":         far + "0",
		"upper case":       strings.ToUpper(far),
		"version ff":       "ff" + far[2:],
		"no trace":         "00-" + strings.Repeat("0", 32) + far[35:],
		"no span":          far[:36] + strings.Repeat("0", 16) + far[52:],
		"wrong separators": strings.ReplaceAll(far, "-", "_"),
		"a line end":       far + "\r\n",
		"a line end in it": far[:30] + "\r\n" + far[32:],
		"NUL":              far[:30] + "\x00" + far[31:],
		"no digits":        far[:30] + "zz" + far[32:],
		"not UTF-8":        far[:30] + "\xff\xfe" + far[32:],
		"10 kB":            strings.Repeat("0", 10_000),
		"twice":            far + "," + far,
	} {
		for _, more := range [][]string{nil, {"tracestate", "stale=1", "baggage", "b=2"}} {
			x := &leattest.Traces{}
			tr := tracer(t, x, nil)
			ctx, span := tr.Arrived(context.Background(), arriving(append([]string{"traceparent", tp}, more...)...), place, true)
			if got := relations(t, x, span, trace.SpanContext{}); got != "root" {
				t.Errorf("%s: %s; want a new root", name, got)
			}
			if s := span.SpanContext().TraceState().String(); s != "" {
				t.Errorf("%s: it has taken over the trace state %s", name, s)
			}
			if got, want := tr.Inject(ctx, nil).Get("baggage"), map[bool]string{true: "b=2"}[more != nil]; got != want {
				t.Errorf("%s: baggage %q; want %q", name, got, want)
			}
		}
	}
}

// A version that is to come is read as far as it is known.
func TestArrivedWithALaterVersion(t *testing.T) {
	x := &leattest.Traces{}
	_, span := tracer(t, x, nil).Arrived(context.Background(), arriving("traceparent", "01"+far[2:]+"-more"), place, true)
	if got := relations(t, x, span, trace.SpanContext{}); got != "child of far" {
		t.Errorf("%s; want a child", got)
	}
}

// A caller's span is a message's cause, and time's trace is its own.
func TestHandedAndTime(t *testing.T) {
	x := &leattest.Traces{}
	tr := tracer(t, x, nil)
	ctx, local := x.Config().TracerProvider.Tracer("test").Start(context.Background(), "local")
	defer local.End()
	_, span := tr.Handed(ctx, place)
	if got := relations(t, x, span, local.SpanContext()); got != "child of local" {
		t.Errorf("handed in: %s", got)
	}
	at := x.Spans()[0].StartTime.Add(-1)
	_, span = tr.Time(ctx, place, at)
	if got := relations(t, x, span, local.SpanContext()); got != "root" {
		t.Errorf("time: %s", got)
	}
	if s := x.Spans()[1]; !s.StartTime.Equal(at) {
		t.Errorf("time: it began at %v; want %v", s.StartTime, at)
	}
}
