package tracing_test

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
)

// observe gives the program an SDK. Spans go to the exporter, measurements to the reader: those of OTLP,
// stdout, Prometheus. Call shutdown when the flows have ended: it sends what is still here.
func observe(exporter sdktrace.SpanExporter, reader sdkmetric.Reader) (shutdown func(context.Context) error) {
	spans := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(1)))) // of every trace so much
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	otel.SetTracerProvider(spans)
	otel.SetMeterProvider(meters)
	return func(ctx context.Context) error { return errors.Join(spans.Shutdown(ctx), meters.Shutdown(ctx)) }
}

// A flow needs no line for it: it finds the program's SDK.
func Example() {
	ctx := context.Background()
	exporter := tracetest.NewInMemoryExporter() // otlptracehttp.New(ctx), stdouttrace.New()
	shutdown := observe(printer{exporter}, sdkmetric.NewManualReader())

	const Parcels channel.Topic[string] = "parcels"
	f, err := flow.New("shop",
		flow.Step("ship", Parcels, endpoint.Do(func(context.Context, string) error { return nil })),
		flow.Policy{DeadLetter: "dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	broker := &memory.Broker{}
	h, err := f.Start(ctx, broker.Publisher(), broker.Subscriber("shop"))
	if err != nil {
		fmt.Println(err)
		return
	}
	parcel, err := flow.Into(h, Parcels)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(parcel(ctx, "1", "tea"), h.Drain(ctx), shutdown(ctx))
	// Output:
	// process parcels [shop ship]
	// <nil> <nil> <nil>
}

// A printer prints the spans that it is to export.
type printer struct{ sdktrace.SpanExporter }

func (p printer) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		var of []string
		for _, kv := range s.Attributes() {
			if kv.Key == "eip.flow" || kv.Key == "eip.step" {
				of = append(of, kv.Value.AsString())
			}
		}
		fmt.Println(s.Name(), of)
	}
	return p.SpanExporter.ExportSpans(ctx, spans)
}
