package flow_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/baggage"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// laden is the context with one member of baggage.
func laden(ctx context.Context, t testing.TB, name, value string) context.Context {
	t.Helper()
	m := must(baggage.NewMemberRaw(name, value))(t)
	return baggage.ContextWithBaggage(ctx, must(baggage.New(m))(t))
}

// lading is an interceptor that adds baggage to what the step does.
func lading(t testing.TB) guardian {
	return guardian{enter: func(e *channel.Envelope) (channel.Result, channel.Exit, error) {
		e.SetContext(laden(e.Context(), t, "b", "1"))
		return channel.Result{}, nil, nil
	}}
}

// Breaks if a dead letter forgets the baggage of its message where the context of the step that buries is
// another than the message's own: behind a direct hop, or inside the span of an attempt.
func TestTraceBaggageOfADeadLetter(t *testing.T) {
	for name, attempts := range map[string]bool{"direct hop": false, "attempt": true} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				r := newTraced(t, how, func(c *tracing.Config) { c.AttemptSpans = attempts },
					flow.Step("sort", arrivals, translator.Map(same, sorted)),
					flow.Step("bury", sorted, block[parcel]{process: func(channel.Message[parcel]) (channel.Result, error) {
						return channel.Dead(errFlaky), nil
					}}), flow.Direct(sorted), quick())
				r.give("arrivals", "k", parcel{ID: "1"}, "traceparent", outside, "baggage", "tenant=7")
				r.wait(time.Minute)
				if l := r.on("dead"); len(l) != 1 || l[0].Headers["baggage"] != "tenant=7" {
					t.Errorf("dead letters %v; want one with the baggage tenant=7", l)
				}
			}, claims, routed)
		})
	}
}

// Breaks if a delivery that brings its own deadline, and so a context of its own, leaves its baggage behind.
func TestTraceBaggageAndADeadlineOfItsOwn(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		b := sendsTo(channel.Out("", sorted))
		b.process = func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Header[time.Time](channel.HeaderExpires).Put(channel.Forward(sorted, m), time.Now().Add(time.Hour))), nil
		}
		r := newTraced(t, how, nil, flow.Step("date", arrivals, b),
			flow.Step("map", sorted, translator.Map(stick, stickers)), flow.Direct(sorted), quick())
		r.give("arrivals", "k", parcel{ID: "1"}, "traceparent", outside, "baggage", "tenant=7")
		r.wait(time.Minute)
		if o := r.on("stickers"); len(o) != 1 || o[0].Headers["baggage"] != "tenant=7" {
			t.Errorf("what leaves: %v; want one with the baggage tenant=7", o)
		}
	}, claims, routed)
}

// Breaks if what a message that nobody sees sends goes out with the headers that came, although an
// interceptor has added baggage.
func TestTraceBaggageOfAnInterceptorUnsampled(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted), flow.Around(lading(t))), quick())
		for i := range 3 { // the first asks the sampler, the others go the short way
			r.give("arrivals", "k", parcel{ID: string(rune('1' + i))}, "traceparent", unsampled(i))
		}
		r.wait(time.Second)
		out := r.on("sorted")
		if len(out) != 3 {
			t.Fatalf("%d messages; want 3", len(out))
		}
		for _, o := range out {
			if o.Headers["baggage"] != "b=1" {
				t.Errorf("message %s has baggage %q; want b=1", o.ID, o.Headers["baggage"])
			}
		}
	})
}

// Breaks if the headers that are kept for all that leaves unsampled are those of one branch: its baggage is
// then on the messages of the other.
func TestTraceBaggageStaysWithItsBranch(t *testing.T) {
	const plain channel.Topic[parcel] = "plain"
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, func(c *tracing.Config) {
			c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))
		}, flow.Step("split", arrivals, router.Split(twins, sorted)),
			flow.Step("pack", sorted, translator.Map(stick, stickers), flow.Around(lading(t))),
			flow.Step("bare", sorted, translator.Map(same, plain)), flow.Direct(sorted), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Second)
		for topic, want := range map[string]string{"stickers": "b=1", "plain": ""} {
			if n := len(r.on(topic)); n != 2 {
				t.Errorf("%d messages on %s; want 2", n, topic)
			}
			for _, o := range r.on(topic) {
				if got := o.Headers["baggage"]; got != want {
					t.Errorf("%s leaves with baggage %q; want %q", topic, got, want)
				}
			}
		}
	}, claims, routed)
}

// Breaks if messages leave with the baggage, or below the span, of whatever the program did when it started
// the flow.
func TestTraceNothingOfTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &leattest.Traces{}
		ctx, span := x.Config().TracerProvider.Tracer("").Start(laden(t.Context(), t, "startup", "secret"), "startup")
		defer span.End()
		f := mustNew(t, "f", flow.Step("sort", arrivals, translator.Map(same, sorted)), quick(), flow.Tracing(x.Config()))
		b := &memory.Broker{}
		defer b.Close()
		w := &wire{to: b.Publisher()}
		h := must(f.Start(ctx, batchWire{w}, b.Subscriber("f")))(t)
		defer h.Stop()
		if err := b.Publisher().Publish("arrivals", message.NewMessage("1", []byte(`{}`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		out := w.on("sorted")
		if len(out) != 1 || out[0].Headers["baggage"] != "" {
			t.Fatalf("what leaves: %v; want one without baggage", out)
		}
		if tp := out[0].Headers["traceparent"]; tp == "" || strings.Contains(tp, span.SpanContext().TraceID().String()) {
			t.Errorf("it leaves with the context %q; want a trace of its own", tp)
		}
	})
}

// Breaks if a context that a block has set on its delivery holds over the broker, but is lost where the
// next step is a direct hop away.
func TestTraceOwnContextOverADirectHop(t *testing.T) {
	for name, more := range map[string][]flow.Part{"broker": nil, "direct": {flow.Direct(sorted)}} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				b := sendsTo(channel.Out("", sorted))
				b.process = func(m channel.Message[parcel]) (channel.Result, error) {
					return channel.Send(channel.Forward(sorted, m).Set("traceparent", outside)), nil
				}
				var seen trace.SpanContext
				r := newTraced(t, how, nil, append(more, flow.Step("set", arrivals, b), flow.Step("map", sorted, translator.Map(stick, stickers)),
					flow.Step("end", stickers, endpoint.DoMessage(func(m channel.Message[sticker]) error {
						seen = trace.SpanContextFromContext(m.Context())
						return nil
					})), quick())...)
				r.give("arrivals", "k", parcel{ID: "1"})
				r.wait(time.Second)
				if seen.TraceID().String() != outsideTrace {
					t.Errorf("the end sees the trace %v; want the one that the first step has set", seen.TraceID())
				}
			}, claims, routed)
		})
	}
}
