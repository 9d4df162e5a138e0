package flow_test

import (
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// A context that comes from outside of the tests.
const (
	outsideTrace = "0af7651916cd43dd8448eb211c80319c"
	outsideSpan  = "b7ad6b7169203331"
	outside      = "00-" + outsideTrace + "-" + outsideSpan + "-01"
)

// What somebody measures elsewhere goes through a flow that is not traced as it came.
func TestTraceOffLeavesHeadersAlone(t *testing.T) {
	for name, config := range map[string]tracing.Config{"no SDK": {}, "off": {Off: true}} {
		everyWay(t, func(t *testing.T, how string) {
			if name == "off" {
				globally(t)
			}
			r := newRig(t, how, flow.Step("sort", arrivals, translator.Map(same, sorted)), flow.Tracing(config), quick())
			r.give("arrivals", "k", parcel{ID: "1"}, "traceparent", outside, "tracestate", "a=1", "baggage", "b=2")
			r.wait(time.Second)
			out := r.on("sorted")
			if len(out) != 1 {
				t.Fatalf("%d messages", len(out))
			}
			for h, want := range map[string]string{"traceparent": outside, "tracestate": "a=1", "baggage": "b=2"} {
				if got := out[0].Headers[h]; got != want {
					t.Errorf("%s: header %s is %q; want %q", name, h, got, want)
				}
			}
		}, claims, routed)
	}
}

// What leaves carries its send span, and what the message said of its trace beside that.
func TestTraceHeadersOfWhatLeaves(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)), quick())
		r.give("arrivals", "k", parcel{ID: "1"}, "traceparent", outside, "tracestate", "a=1", "baggage", "b=2", "x", "y")
		r.wait(time.Second)
		r.looks(`
? process arrivals @sort = sent
?   send sorted @sort
`)
		send, out := find(t, r.traces.Spans(), "send sorted"), r.on("sorted")[0]
		if send.SpanContext.TraceID().String() != outsideTrace {
			t.Errorf("the trace is %v; want the message's", send.SpanContext.TraceID())
		}
		for h, want := range map[string]string{"traceparent": traceparent(send.SpanContext), "tracestate": "a=1", "baggage": "b=2", "x": "y"} {
			if got := out.Headers[h]; got != want {
				t.Errorf("header %s is %q; want %q", h, got, want)
			}
		}
	})
}

// A malformed context costs the message nothing; baggage is not part of it.
func TestTraceMalformedContext(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)), quick())
		for i, tp := range []string{"", "00-" + strings.ToUpper(outsideTrace) + "-" + outsideSpan + "-01", "\r\n", strings.Repeat("0", 5_000)} {
			r.give("arrivals", "k", parcel{ID: string(rune('1' + i))}, "traceparent", tp, "tracestate", "stale=1", "baggage", "b=2")
		}
		r.wait(time.Second)
		r.looks(`
process arrivals @sort = sent
	send sorted @sort
process arrivals @sort = sent
	send sorted @sort
process arrivals @sort = sent
	send sorted @sort
process arrivals @sort = sent
	send sorted @sort
`)
		for _, out := range r.on("sorted") {
			if h := out.Headers; h["baggage"] != "b=2" || h["tracestate"] != "" {
				t.Errorf("headers %q; want the baggage and no tracestate", h)
			}
		}
	}, claims, routed)
}

// A delivery whose maker has set its context, such as one that was made long ago, keeps it.
func TestTraceOwnContextIsNotOverwritten(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		b := sendsTo(channel.Out("", sorted), channel.Out("", rejected))
		b.process = func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.To(sorted, m.Body).Set("traceparent", outside), channel.To(rejected, m.Body)), nil
		}
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, b), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Second)
		r.looks(`
process arrivals @sort = sent
	send rejected @sort
	send sorted @sort
`)
		if got := r.on("sorted")[0].Headers["traceparent"]; got != outside {
			t.Errorf("its own context was replaced by %s", got)
		}
		if got := r.on("rejected")[0].Headers["traceparent"]; got != traceparent(find(t, r.traces.Spans(), "send rejected").SpanContext) {
			t.Errorf("the other carries %s; want its send span", got)
		}
	})
}

// What a block, its callers and interceptors see in the context is the span of their step, so that what
// they call is below it.
func TestTraceCodeSeesItsSpan(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		seen := map[string]trace.SpanContext{}
		spy := guardian{enter: func(e *channel.Envelope) (channel.Result, channel.Exit, error) {
			seen["around "+e.Topic()] = trace.SpanContextFromContext(e.Context())
			return channel.Result{}, func(r channel.Result, err error) (channel.Result, error) {
				seen["after "+e.Topic()] = trace.SpanContextFromContext(e.Context())
				return r, err
			}, nil
		}}
		var carried string
		see := func(m channel.Message[parcel]) {
			seen[m.Topic()] = trace.SpanContextFromContext(m.Context())
			carried = baggage.FromContext(m.Context()).Member("b").Value()
		}
		r := newTraced(t, how, nil,
			flow.Step("sort", arrivals, translator.MapMessage(func(m channel.Message[parcel]) (parcel, error) { see(m); return m.Body, nil }, sorted)),
			flow.Step("end", sorted, endpoint.DoMessage(func(m channel.Message[parcel]) error { see(m); return nil })),
			flow.Around(spy), flow.Direct(sorted), quick())
		r.give("arrivals", "k", parcel{ID: "1"}, "baggage", "b=2")
		r.wait(time.Second)
		r.stop()
		spans := r.traces.Spans()
		for _, topic := range []string{"arrivals", "sorted"} {
			want := find(t, spans, "process "+topic).SpanContext.SpanID()
			for _, who := range []string{"", "around ", "after "} {
				if got := seen[who+topic].SpanID(); got != want {
					t.Errorf("%q sees the span %v; want %v", who+topic, got, want)
				}
			}
		}
		if carried != "2" {
			t.Errorf("baggage %q; want 2", carried)
		}
	})
}
