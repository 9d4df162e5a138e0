package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
)

// tracedRow says what tracing costs a flow that reads and writes JSON over three hops of the memory broker.
// Its ceiling is the same flow with tracing off. Spans go to a batch processor and are thrown away at its
// end: what a collector costs is not in it.
func tracedRow() measure.Row {
	return measure.Row{
		Name:    "traced, JSON of 1 KiB, three hops in memory, flow.Run",
		Slice:   100 * time.Millisecond,
		Ceiling: &measure.Contestant{Name: "tracing off", Open: untraced(tracing.Config{Off: true})},
		Ours: []measure.Ours{
			{
				Contestant: measure.Contestant{Name: "no SDK", Open: untraced(tracing.Config{})},
				Must:       measure.Must{Ceiling: 0.98},
			},
			{
				Contestant: measure.Contestant{Name: "10 % sampled", Open: traced(sdk.ParentBased(sdk.TraceIDRatioBased(0.1)), &discard{})},
				Must:       measure.Must{Ceiling: 0.95},
			},
			{
				Contestant: measure.Contestant{Name: "every message", Open: traced(sdk.AlwaysSample(), &discard{})},
				Must:       measure.Must{Why: "to trace every message is for looking closely, and costs what it costs"},
			},
		},
	}
}

func untraced(c tracing.Config) opener {
	return func(ctx context.Context) (measure.Load, error) { return openBilling(ctx, c, nil) }
}

func traced(s sdk.Sampler, end sdk.SpanExporter) opener {
	return func(ctx context.Context) (measure.Load, error) {
		provider := sdk.NewTracerProvider(sdk.WithSampler(s), sdk.WithBatcher(end))
		return openBilling(ctx, tracing.Config{TracerProvider: provider}, provider)
	}
}

// openBilling starts the flow. Spans that wait in the provider, if there is one, are a part of the work of
// a run: they are exported before it ends.
func openBilling(ctx context.Context, c tracing.Config, provider *sdk.TracerProvider) (measure.Load, error) {
	bodies, keys, err := purchases()
	if err != nil {
		return measure.Load{}, err
	}
	f, err := billingFlow(flow.Tracing(c))
	if err != nil {
		return measure.Load{}, err
	}
	broker := &memory.Broker{}
	h, err := f.Start(ctx, broker.Publisher(), broker.Subscriber("billing"))
	if err != nil {
		return measure.Load{Close: broker.Close}, err
	}
	p := &pipe{
		pub: broker.Publisher(), sub: broker.Subscriber("sink"), bodies: bodies,
		dress: func(m *message.Message, i int) { m.Metadata[channel.HeaderKey] = keys[i%len(keys)] },
		close: func() error {
			h.Stop()
			return broker.Close()
		},
	}
	l, err := p.load(ctx)
	if provider == nil {
		return l, err
	}
	run, end := l.Run, l.Close
	l.Run = func(ctx context.Context, n int) error { return errors.Join(run(ctx, n), provider.ForceFlush(ctx)) }
	l.Close = func() error { return errors.Join(end(), provider.Shutdown(context.WithoutCancel(ctx))) }
	return l, err
}

// discard is where spans end. It counts them.
type discard struct{ spans atomic.Int64 }

func (d *discard) ExportSpans(_ context.Context, spans []sdk.ReadOnlySpan) error {
	d.spans.Add(int64(len(spans)))
	return nil
}

func (*discard) Shutdown(context.Context) error { return nil }
