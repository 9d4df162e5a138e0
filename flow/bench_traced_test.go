//go:build unix

package flow_test

import (
	"context"
	"strconv"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// discards is an exporter that drops what it is given.
type discards struct{}

func (discards) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discards) Shutdown(context.Context) error                             { return nil }

// sampling is a provider that records that share of the traces, in batches that are thrown away.
func sampling(tb testing.TB, share float64) *sdktrace.TracerProvider {
	tb.Helper()
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(discards{}),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share))))
	tb.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return p
}

// What tracing costs: the same messages with it off, without an SDK, with every tenth trace sampled, with
// every one, and with metrics.
func BenchmarkTraced(b *testing.B) {
	kinds := []struct {
		name   string
		config func(b *testing.B) tracing.Config
	}{
		{"off", func(*testing.B) tracing.Config { return tracing.Config{Off: true} }},
		{"none", func(*testing.B) tracing.Config { return tracing.Config{} }},
		{"10%", func(b *testing.B) tracing.Config { return tracing.Config{TracerProvider: sampling(b, 0.1)} }},
		{"all", func(b *testing.B) tracing.Config { return tracing.Config{TracerProvider: sampling(b, 1)} }},
		{"metrics", func(*testing.B) tracing.Config {
			return tracing.Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))}
		}},
	}
	for _, k := range kinds {
		b.Run("direct/"+k.name, func(b *testing.B) { benchTracedDirect(b, k.config(b)) })
	}
	for _, k := range kinds {
		b.Run("json/"+k.name, func(b *testing.B) { benchTracedJSON(b, k.config(b)) })
	}
}

func benchTracedDirect(b *testing.B, c tracing.Config) {
	b.Helper()
	h := start(b,
		flow.Tracing(c),
		flow.Step("route", in, router.Content(router.When("eu", from("EU"), eu), router.When("us", from("US"), us))),
		flow.Step("eu", eu, endpoint.Do(sink[*order])),
		flow.Step("us", us, endpoint.Do(sink[*order])),
		flow.Direct(in, eu, us))
	feed := into(b, h, in)
	o := &order{Region: "US"}
	ctx := context.Background()
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		if err := feed(ctx, "id", o); err != nil {
			b.Fatal(err)
		}
	}
}

// A basket is about 1 KiB of JSON.
type basket struct {
	ID, Region, Customer string
	Lines                []basketItem
}

type basketItem struct {
	SKU, Name string
	Quantity  int
	Cents     int64
}

func newBasket() basket {
	c := basket{ID: "c-1", Region: "US", Customer: "somebody@example.com"}
	for i := range 14 {
		c.Lines = append(c.Lines, basketItem{"sku-" + strconv.Itoa(i), "a thing with a name", i, int64(i) * 199})
	}
	return c
}

// benchTracedJSON is three hops over a broker in memory: route, price, end.
func benchTracedJSON(b *testing.B, c tracing.Config) {
	b.Helper()
	const (
		baskets channel.Topic[basket] = "baskets"
		euc     channel.Topic[basket] = "baskets.eu"
		usc     channel.Topic[basket] = "baskets.us"
		paid    channel.Topic[basket] = "baskets.paid"
	)
	done := make(chan struct{}, 1024)
	broker := &memory.Broker{}
	f, err := flow.New("bench", flow.Policy{DeadLetter: "dead"}, flow.Tracing(c),
		flow.Step("route", baskets, router.Content(
			router.When("eu", func(c basket) bool { return c.Region == "EU" }, euc),
			router.When("us", func(c basket) bool { return c.Region == "US" }, usc))),
		flow.Step("price-eu", euc, translator.Map(price, paid)),
		flow.Step("price-us", usc, translator.Map(price, paid)),
		flow.Step("end", paid, endpoint.Do(func(context.Context, basket) error { done <- struct{}{}; return nil })))
	if err != nil {
		b.Fatal(err)
	}
	h, err := f.Start(b.Context(), broker.Publisher(), broker.Subscriber("bench"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Stop)
	var e channel.Envelope
	e.Arrive(&channel.Arrival{Topic: string(baskets), ID: "1", Codecs: f.Codecs(), Body: newBasket(), HasBody: true})
	pub := broker.Publisher()
	b.ReportAllocs()
	defer cpu(b)()
	b.ResetTimer()
	go func() {
		for i := range b.N {
			m, err := e.Watermill()
			if err != nil {
				b.Error(err)
				return
			}
			m.UUID = strconv.Itoa(i)
			if err := pub.Publish(string(baskets), m); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	for range b.N {
		<-done
	}
}

func price(c basket) (basket, error) {
	for i := range c.Lines {
		c.Lines[i].Cents += 100
	}
	return c, nil
}
