package tracing

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// Breaks if the short way reads or writes anything else than OpenTelemetry's own propagator.
func FuzzW3CIsTheirs(f *testing.F) {
	for _, s := range []string{
		parent, parent[:53] + "00", parent[:53] + "03", parent[:53] + "ff", strings.ToUpper(parent), "01" + parent[2:], "ff" + parent[2:],
		parent + "-x", parent[:54], "", "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-" + strings.Repeat("0", 16) + "-01", "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
		parent[:20] + "\x00" + parent[21:], parent[:20] + "g" + parent[21:], parent[:53] + "0G",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		headers := getter{channel.Fields{{Name: traceParent, Value: s}}}
		theirs := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), headers))
		ours, ok := readW3C(headers)
		if !ok {
			return // it is left to theirs
		}
		if ours.IsValid() != theirs.IsValid() || ours.IsValid() && !ours.Equal(theirs) {
			t.Fatalf("%q is read as %v, by theirs as %v", s, ours, theirs)
		}
		ctx := trace.ContextWithRemoteSpanContext(context.Background(), theirs)
		var want setter
		propagation.TraceContext{}.Inject(ctx, &want)
		if fs, ok := writeW3C(ctx, nil); ok && fs.Get(traceParent) != want.Get(traceParent) {
			t.Fatalf("%v is written as %q, by theirs as %q", ours, fs.Get(traceParent), want.Get(traceParent))
		}
	})
}

// The short way is taken where it should be, and nowhere else.
func TestW3CShortWay(t *testing.T) {
	sc, ok := readW3C(getter{channel.Fields{{Name: traceParent, Value: parent}}})
	if !ok || !sc.IsSampled() || !sc.IsRemote() {
		t.Fatalf("%q: %v, %v; want it read", parent, sc, ok)
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), sc)
	if fs, ok := writeW3C(ctx, nil); !ok || fs.Get(traceParent) != parent {
		t.Fatalf("written %v, %v; want %s", fs, ok, parent)
	}
	for _, name := range []string{traceState, baggageName} {
		if _, ok := readW3C(getter{channel.Fields{{Name: traceParent, Value: parent}, {Name: name, Value: "a=b"}}}); ok {
			t.Errorf("a message with %s is read by the short way", name)
		}
	}
	m, err := baggage.NewMember("a", "b")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := writeW3C(baggage.ContextWithBaggage(ctx, bag), nil); ok {
		t.Error("baggage is lost on the short way")
	}
	state, err := trace.ParseTraceState("a=b")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := writeW3C(trace.ContextWithSpanContext(ctx, sc.WithTraceState(state)), nil); ok {
		t.Error("trace state is lost on the short way")
	}
	theirs := propagation.NewCompositeTextMapPropagator
	for name, x := range map[string]struct {
		p    propagation.TextMapPropagator
		want bool
	}{
		"trace context":  {propagation.TraceContext{}, true},
		"with baggage":   {theirs(propagation.TraceContext{}, propagation.Baggage{}), true},
		"baggage alone":  {theirs(propagation.Baggage{}), false},
		"nothing":        {theirs(), false},
		"somebody's own": {suspicious{}, false},
		"with another":   {theirs(propagation.TraceContext{}, suspicious{}), false},
	} {
		if isW3C(x.p) != x.want {
			t.Errorf("%s: %v", name, !x.want)
		}
	}
}

// suspicious reads no context from strangers.
type suspicious struct{ propagation.TraceContext }

func (suspicious) Extract(ctx context.Context, _ propagation.TextMapCarrier) context.Context {
	return ctx
}
