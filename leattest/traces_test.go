package leattest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// A scribe writes spans down as a flow would that has a mistake.
type scribe struct {
	*leattest.Traces
}

// span makes one that has ended, of the step "invoice" of the flow "f". Attributes: name, value, name,
// value.
func (s scribe) span(ctx context.Context, name string, opts []trace.SpanStartOption, kvs ...any) context.Context {
	all := []attribute.KeyValue{attribute.String(tracing.Flow, "f"), attribute.String(tracing.Step, "invoice")}
	for i := 0; i+1 < len(kvs); i += 2 {
		switch v := kvs[i+1].(type) {
		case string:
			all = append(all, attribute.String(kvs[i].(string), v))
		case int:
			all = append(all, attribute.Int(kvs[i].(string), v))
		case bool:
			all = append(all, attribute.Bool(kvs[i].(string), v))
		}
	}
	ctx, span := s.Config().TracerProvider.Tracer("test").Start(ctx, name, append(opts, trace.WithAttributes(all...))...)
	span.End()
	return ctx
}

// process is the span of a message on the topic orders.
func (s scribe) process(ctx context.Context) context.Context {
	return s.span(ctx, "process orders", consumer, tracing.Destination, string(orders))
}

// send is the span of an invoice that leaves.
func (s scribe) send(ctx context.Context) context.Context {
	return s.span(ctx, "send invoices", nil, tracing.Destination, string(invoices), tracing.Route, "translated")
}

var consumer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer)}

func linkTo(ctxs ...context.Context) []trace.SpanStartOption {
	var links []trace.Link
	for _, ctx := range ctxs {
		links = append(links, trace.Link{SpanContext: trace.SpanContextFromContext(ctx)})
	}
	return []trace.SpanStartOption{trace.WithLinks(links...)}
}

// nowhere is a context whose span nobody has recorded.
func nowhere() context.Context {
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
}

// invoicing is the flow that the spans are of.
func invoicing(t *testing.T, parts ...flow.Part) *flow.Flow {
	t.Helper()
	return newFlow(t, append(parts, flow.Step("invoice", orders, translator.Map(toInvoice, invoices)), toDead)...)
}

// judged compares what a check fails with.
func judged(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("failures %q; want %q", got, want)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("failure %q; want %q in it", got[i], want[i])
		}
	}
}

// Check finds each thing that can be wrong with a trace, and nothing in one that is whole.
func TestTracesCheck(t *testing.T) {
	ctx := context.Background()
	for name, x := range map[string]struct {
		write func(s scribe)
		want  []string
	}{
		"nothing is wrong": {func(s scribe) {
			in := s.process(ctx)
			s.send(in)
			s.span(in, "send dead", nil, tracing.Destination, "dead", tracing.Letter, true)
			s.span(ctx, "aggregate invoice", linkTo(in, s.process(ctx)), tracing.BatchCount, 2)
		}, nil},
		"another flow's mistake": {func(s scribe) {
			_, span := s.Config().TracerProvider.Tracer("test").Start(nowhere(), "send secret")
			span.End()
		}, nil},
		"an edge that is not drawn": {func(s scribe) {
			s.span(s.process(ctx), "send secret", nil, tracing.Destination, "secret")
		}, []string{"an edge that is not drawn"}},
		"a way in that is not drawn": {func(s scribe) {
			s.span(ctx, "process secret", consumer, tracing.Destination, "secret")
		}, []string{"an edge that is not drawn"}},
		"an orphan": {func(s scribe) { s.process(nowhere()) }, []string{"it is an orphan"}},
		"a child of what is known to be outside": {func(s scribe) {
			s.From("00-01000000000000000000000000000000-0200000000000000-01")
			s.process(nowhere())
		}, nil},
		"a link to nowhere": {func(s scribe) {
			s.span(ctx, "process orders", append(linkTo(nowhere()), consumer...), tracing.Destination, string(orders))
		}, []string{"which is nowhere"}},
		"the send of another topic": {func(s scribe) {
			s.process(s.send(s.process(ctx)))
		}, []string{`its parent is "send invoices"`}},
		"an aggregate that misses a member": {func(s scribe) {
			s.span(ctx, "aggregate invoice", linkTo(s.process(ctx)), tracing.BatchCount, 2)
		}, []string{"it has 2 members and 1 links"}},
		"an aggregate of what is no member": {func(s scribe) {
			_, stranger := s.Config().TracerProvider.Tracer("test").Start(ctx, "process lines")
			stranger.End()
			s.span(ctx, "aggregate invoice", linkTo(trace.ContextWithSpan(ctx, stranger)), tracing.BatchCount, 1)
		}, []string{"which is no member"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := scribe{&leattest.Traces{}}, &recorder{TB: t}
			x.write(s)
			s.Check(r, invoicing(t))
			judged(t, r.failures, x.want)
		})
	}
}

func TestTracesCovers(t *testing.T) {
	f := invoicing(t)
	edges := f.Edges()
	edge := func(link flow.Link) string {
		return edges[slices.IndexFunc(edges, func(e flow.Edge) bool { return e.Link == link })].String()
	}
	dead, in := edge(flow.LinkError), edge(flow.LinkIn)
	s := scribe{&leattest.Traces{}}
	s.send(s.process(context.Background()))

	for name, x := range map[string]struct{ but, want []string }{
		"an edge that nothing went along":     {nil, []string{"no trace goes along " + dead}},
		"but that":                            {[]string{dead}, nil},
		"an edge that something did go along": {[]string{dead, in}, []string{"a trace does go along"}},
		"an edge that the flow does not have": {[]string{dead, "a -> b"}, []string{"has no edge a -> b"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			s.Covers(r, f, x.but...)
			judged(t, r.failures, x.want)
		})
	}
	s.span(s.process(context.Background()), "send dead", nil, tracing.Destination, "dead", tracing.Letter, true)
	r := &recorder{TB: t}
	s.Covers(r, f)
	judged(t, r.failures, nil)
	if took, undrawn := s.Edges(f); len(took) != len(edges) || len(undrawn) != 0 {
		t.Errorf("edges %v and %q; want all", took, undrawn)
	}
}

// Accounts sees that the numbers are not those of the flow: two of one name, measured together.
func TestTracesAccounts(t *testing.T) {
	var x leattest.Traces
	f := invoicing(t, flow.Tracing(x.Config()))
	leattest.Run(t, f, func(k *leattest.Kit) { leattest.Send(k, orders, "1", order{"A", []string{"a"}}) })
	r := &recorder{TB: t}
	x.Accounts(r, f)
	judged(t, r.failures, nil)

	other := invoicing(t, flow.Tracing(x.Config()))
	leattest.Run(t, other, func(k *leattest.Kit) { leattest.Send(k, orders, "2", order{"B", []string{"b"}}) })
	x.Accounts(r, f)
	judged(t, r.failures, []string{"flow f, step invoice: metrics say 2 received"})
	if n := x.Sum(t, tracing.Received, tracing.Step, "invoice"); n != 2 {
		t.Errorf("%d received; want 2", n)
	}
	if n := x.Sum(t, tracing.Received, tracing.Step, "nobody"); n != 0 {
		t.Errorf("%d received by a step that is not there", n)
	}
}

// The kit checks the traces of its flow without a line of the test.
func TestKitChecksTraces(t *testing.T) {
	var k *leattest.Kit
	got := failures(t, func(r *recorder) {
		k = leattest.Start(r, invoicing(t))
		leattest.Send(k, orders, "1", order{"A", []string{"a"}}, "traceparent", "00-01000000000000000000000000000000-0200000000000000-01")
		k.World.Put(string(orders), "2", `{"ID":"B","Lines":["b"]}`, "traceparent", "00-01000000000000000000000000000000-0300000000000000-01")
	})
	judged(t, got, []string{"it is an orphan: its parent 0300000000000000"})
}

// Breaks if the second kit of one flow records nothing, because the flow still tells the first.
func TestKitOfAFlowThatHasRun(t *testing.T) {
	f := invoicing(t)
	for _, id := range []string{"1", "2"} {
		leattest.Run(t, f, func(k *leattest.Kit) {
			leattest.Send(k, orders, id, order{"A", []string{"a"}})
			if spans := k.Traces.Of(f, "invoice"); len(spans) == 0 || spans[0].Get(tracing.MessageID) == "" {
				t.Errorf("the kit of message %s has recorded %d spans", id, len(spans))
			}
			if n := k.Traces.Sum(t, tracing.ConsumedMessages); n != 1 {
				t.Errorf("the kit of message %s has measured %d; want 1", id, n)
			}
		})
	}
}
