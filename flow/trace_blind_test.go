package flow_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
)

// A bomb goes off where it is put.
type bomb struct{ where string }

func (b bomb) at(where string) {
	if b.where == where {
		panic("a bomb in the " + where)
	}
}

func (b bomb) Description() string { return "bomb" }

func (b bomb) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	if !strings.HasPrefix(p.Name, "process") || p.TraceID[0] != 1 { // not when asked at the start
		b.at("sampler")
		if strings.HasPrefix(p.Name, "send") {
			b.at("sampler of sends")
		}
		if strings.HasPrefix(p.Name, "aggregate") {
			b.at("sampler of aggregates")
		}
	}
	return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
}

func (b bomb) Inject(context.Context, propagation.TextMapCarrier) { b.at("injector") }

func (b bomb) Extract(ctx context.Context, _ propagation.TextMapCarrier) context.Context {
	b.at("extractor")
	return ctx
}

func (bomb) Fields() []string { return []string{"bomb"} }

func (b bomb) OnStart(context.Context, sdktrace.ReadWriteSpan) { b.at("start") }
func (b bomb) OnEnd(sdktrace.ReadOnlySpan)                     { b.at("end") }
func (bomb) Shutdown(context.Context) error                    { return nil }
func (bomb) ForceFlush(context.Context) error                  { return nil }

// Breaks if what panics in OpenTelemetry ends the program, or sends a message that fares well to the dead
// letter.
func TestTracingThatPanicsHurtsNoMessage(t *testing.T) {
	const in, parts, out channel.Topic[int] = "in", "parts", "out"
	for _, where := range []string{"sampler", "sampler of sends", "sampler of aggregates", "injector", "extractor", "start", "end"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, said := &memory.Broker{}, &book{}
				defer b.Close()
				x := bomb{where}
				provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(x), sdktrace.WithSpanProcessor(x))
				f, err := flow.New("f", flow.Policy{DeadLetter: "dead"}, flow.Logger(slog.New(slog.NewTextHandler(said, nil))),
					flow.Tracing(tracing.Config{TracerProvider: provider, Propagator: x, AttemptSpans: true}),
					flow.Step("split", in, router.Split(func(n int) []int { return []int{n, n} }, parts)),
					flow.Step("join", parts, &aggregator.Aggregator[int, int]{
						Correlate: func(n int) string { return fmt.Sprint(n) },
						Combine:   func(_ string, all []int) (int, error) { return all[0] + all[1], nil }, To: out, Size: 2,
						Store: &aggregator.Memory{},
					}),
					flow.Step("end", out, endpoint.Do(func(context.Context, int) error { return nil })), flow.Direct(parts))
				if err != nil {
					t.Fatal(err)
				}
				h, err := f.Start(t.Context(), b.Publisher(), b.Subscriber("f"))
				if err != nil {
					t.Fatal(err)
				}
				defer h.Stop()
				for i := range 100 {
					m := message.NewMessage(fmt.Sprint(i), fmt.Append(nil, i))
					m.Metadata["bomb"] = "x"
					if err := b.Publisher().Publish(string(in), m); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if c := h.Counts()["end"]; c.Done != 100 {
					t.Errorf("%v at the end, want 100 done; counts %v", c, h.Counts())
				}
				lines := said.lines()
				if len(lines) == 0 || len(lines) > 3 || !strings.Contains(lines[0], "a bomb in the "+where) {
					t.Errorf("it logs %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
				}
			})
		})
	}
}
