package flow_test

import (
	"context"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

type order struct {
	ID, Region string
	Total      int
}

type invoice struct {
	ID    string
	Cents int
}

var sunk int

func sink[T any](context.Context, T) error {
	sunk++
	return nil
}

func from(region string) func(*order) bool {
	return func(o *order) bool { return o.Region == region }
}

const (
	in channel.Topic[*order] = "in"
	eu channel.Topic[*order] = "eu"
	us channel.Topic[*order] = "us"
	as channel.Topic[*order] = "as"
)

func start(b testing.TB, parts ...flow.Part) *flow.Handle {
	b.Helper()
	f, err := flow.New("bench", append(parts, flow.Policy{DeadLetter: "dead"})...)
	if err != nil {
		b.Fatal(err)
	}
	h, err := f.Start(b.Context(), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(h.Stop)
	return h
}

func into[T any](b testing.TB, h *flow.Handle, topic channel.Topic[T]) flow.Feed[T] {
	b.Helper()
	feed, err := flow.Into(h, topic)
	if err != nil {
		b.Fatal(err)
	}
	return feed
}

func BenchmarkContentRouter(b *testing.B) {
	h := start(b,
		flow.Step("route", in, router.Content(router.When("eu", from("EU"), eu), router.When("us", from("US"), us), router.When("as", from("AS"), as))),
		flow.Step("eu", eu, endpoint.Do(sink[*order])),
		flow.Step("us", us, endpoint.Do(sink[*order])),
		flow.Step("as", as, endpoint.Do(sink[*order])),
		flow.Direct(in, eu, us, as))
	feed := into(b, h, in)
	o := &order{Region: "AS"}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := feed(ctx, "id", o); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFilterTranslateRoute(b *testing.B) {
	const (
		ok channel.Topic[*order]  = "ok"
		iv channel.Topic[invoice] = "invoices"
		hi channel.Topic[invoice] = "high"
		lo channel.Topic[invoice] = "low"
	)
	h := start(b,
		flow.Step("filter", in, router.Filter(func(o *order) bool { return o.Total >= 0 }, ok)),
		flow.Step("translate", ok, translator.Map(func(o *order) (invoice, error) { return invoice{o.ID, o.Total}, nil }, iv)),
		flow.Step("route", iv, router.Content(router.When("high", func(i invoice) bool { return i.Cents > 10 }, hi), router.Otherwise(lo))),
		flow.Step("high", hi, endpoint.Do(sink[invoice])),
		flow.Step("low", lo, endpoint.Do(sink[invoice])),
		flow.Direct(in, ok, iv, hi, lo))
	feed := into(b, h, in)
	o := &order{Region: "AS"}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if err := feed(ctx, "id", o); err != nil {
			b.Fatal(err)
		}
	}
}
