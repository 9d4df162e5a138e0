//go:build unix

package flow_test

import (
	"context"
	"math"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// Breaks if a message costs an allocation more because it could be traced. What it costs in time says
// BenchmarkTraced, and bench.
func TestTracingWithoutAnSDKAllocatesNothing(t *testing.T) {
	const (
		in, hop channel.Topic[*order] = "in", "hop"
		out     channel.Topic[[]byte] = "out"
	)
	allocs := func(c tracing.Config, leaves bool) float64 {
		parts := []flow.Part{
			flow.Tracing(c),
			flow.Policy{DeadLetter: "dead"},
			flow.Direct(in, hop),
			flow.Step("route", in, router.Content(router.Otherwise(hop))),
		}
		if leaves {
			parts = append(parts, flow.Step("map", hop, translator.Map(func(*order) ([]byte, error) { return []byte("{}"), nil }, out)))
		} else {
			parts = append(parts, flow.Step("end", hop, endpoint.Do(sink[*order])))
		}
		f, err := flow.New("f", parts...)
		if err != nil {
			t.Fatal(err)
		}
		h, err := f.Start(t.Context(), nowhere{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		feed := into(t, h, in)
		o, ctx := &order{}, context.Background()
		return testing.AllocsPerRun(1000, func() {
			if err := feed(ctx, "id", o); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, leaves := range []bool{false, true} {
		off, none := allocs(tracing.Config{Off: true}, leaves), allocs(tracing.Config{}, leaves)
		if math.Abs(none-off) > forgets || !leaves && off > forgets {
			t.Errorf("leaves %v: %v allocations with tracing off, %v without an SDK", leaves, off, none)
		}
	}
}

// nowhere is a publisher that has published before it was asked.
type nowhere struct{}

func (nowhere) Publish(string, ...*message.Message) error { return nil }
func (nowhere) Close() error                              { return nil }

func (nowhere) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) { done(outs) }
