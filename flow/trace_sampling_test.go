package flow_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// unsampled is the context of the n-th trace that its root has not sampled.
func unsampled(n int) string { return fmt.Sprintf("00-%032x-%s-00", n+1, outsideSpan) }

// What the root has not sampled nobody after it does: nothing is recorded, over direct hops or over the
// broker, and what leaves says so, in the same trace. With trace state and without.
func TestTraceNotSampled(t *testing.T) {
	for _, state := range []string{"", "a=1"} {
		everyWay(t, func(t *testing.T, how string) {
			var inside trace.SpanContext
			r := newTraced(t, how, func(c *tracing.Config) { c.AttemptSpans = true },
				flow.Step("split", arrivals, router.Split(twins, sorted)),
				flow.Step("map", sorted, translator.MapMessage(func(m channel.Message[parcel]) (sticker, error) {
					inside = trace.SpanContextFromContext(m.Context())
					if m.Body.Kind == "bad" {
						return sticker{}, channel.Permanent(errFlaky)
					}
					return stick(m.Body)
				}, stickers)),
				flow.Step("end", stickers, done[sticker]()), flow.Direct(sorted), quick())
			r.give("arrivals", "k", parcel{ID: "1"}, "traceparent", unsampled(0), "tracestate", state)
			r.give("arrivals", "k", parcel{ID: "2", Kind: "bad"}, "traceparent", unsampled(0), "tracestate", state)
			r.wait(time.Minute)
			r.looks("")
			if got, want := inside.TraceID().String(), unsampled(0)[3:35]; got != want || inside.IsSampled() {
				t.Errorf("code sees the trace %s, sampled: %v; want %s, which is not", got, inside.IsSampled(), want)
			}
			for topic, n := range map[string]int{"stickers": 2, "dead": 1} {
				out := r.on(topic)
				if len(out) != n {
					t.Fatalf("%d messages on %s; want %d", len(out), topic, n)
				}
				for _, o := range out {
					tp := o.Headers["traceparent"]
					if !strings.HasPrefix(tp, unsampled(0)[:36]) || !strings.HasSuffix(tp, "-00") || o.Headers["tracestate"] != state {
						t.Errorf("%s carries %q %q; want the trace that came, not sampled", topic, tp, o.Headers["tracestate"])
					}
				}
			}
			if n := r.traces.Sum(t, tracing.ConsumedMessages); n != 4 {
				t.Errorf("%d messages consumed; want 4, for metrics are not sampled", n)
			}
		})
	}
}

// An aggregate over traces that are not sampled begins one that may be. What it sends is in it.
func TestTraceAggregateIsSampledAnew(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, glue(&aggregator.Memory{})),
			flow.Step("map", stickers, translator.Map(func(s sticker) (parcel, error) { return parcel{ID: s.Parcel}, nil }, sorted)),
			flow.Step("end", sorted, done[parcel]()), flow.Direct(stickers), quick())
		for i := range 2 {
			r.give("arrivals", "k", parcel{ID: string(rune('1' + i)), Kind: "a"}, "traceparent", unsampled(i))
			r.wait(time.Second)
		}
		for i := range 2 { // in one trace it stays in it, unseen
			r.give("arrivals", "k", parcel{ID: string(rune('5' + i)), Kind: "b"}, "traceparent", unsampled(9))
			r.wait(time.Second)
		}
		r.looks(`
aggregate glue @glue (size) ~2
	process stickers @map direct = sent
		send sorted @map
			process sorted @end = done
`)
		if out := r.on("sorted"); len(out) != 2 || !strings.HasPrefix(out[1].Headers["traceparent"], unsampled(9)[:36]) || !strings.HasSuffix(out[1].Headers["traceparent"], "-00") {
			t.Errorf("what leaves: %+v; want the second in the trace of its members, not sampled", out)
		}
	})
}

// Samplers are asked by name and kind, and see the links of what begins a trace.
func TestTraceSamplersSee(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		saw := &sampler{}
		provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(saw), sdktrace.WithSyncer(tracetest.NewInMemoryExporter()))
		r := newRig(t, how, flow.Step("sort", arrivals, translator.Map(same, sorted)), quick(),
			flow.Tracing(tracing.Config{TracerProvider: provider, LinkHops: true}))
		r.give("arrivals", "k", parcel{ID: "1"}, "traceparent", outside)
		r.wait(time.Second)
		r.stop()
		want := "process arrivals consumer 1 links\nsend sorted producer 0 links\n"
		if got := saw.text.String(); !strings.HasSuffix(got, want) { // the provider was asked whether it is one
			t.Errorf("the sampler saw\n%swant\n%s", got, want)
		}
	}, claims)
}

// A sampler takes everything and notes what it was asked.
type sampler struct{ text strings.Builder }

func (*sampler) Description() string { return "notes" }

func (s *sampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	fmt.Fprintf(&s.text, "%s %v %d links\n", p.Name, p.Kind, len(p.Links))
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
}
