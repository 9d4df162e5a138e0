//go:build unix

package flow_test

import (
	"context"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
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
	broker := &memory.Broker{} // for the dead letters, of which there are none
	h, err := f.Start(b.Context(), broker.Publisher(), nil)
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
	defer cpu(b)()
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
	defer cpu(b)()
	for b.Loop() {
		if err := feed(ctx, "id", o); err != nil {
			b.Fatal(err)
		}
	}
}

type line struct {
	Order string
	N     int
}

type cart struct {
	ID    string
	Lines []line
}

type packed struct {
	ID string
	N  int
}

const (
	carts  channel.Topic[*cart]  = "carts"
	lines  channel.Topic[line]   = "lines"
	packs  channel.Topic[packed] = "packed"
	copies                       = 1 << 20
)

func pack() *aggregator.Aggregator[line, packed] {
	return &aggregator.Aggregator[line, packed]{
		Correlate: func(l line) string { return l.Order },
		Combine:   func(id string, ls []line) (packed, error) { return packed{id, len(ls)}, nil },
		To:        packs, Size: 10, Timeout: time.Minute, Store: &aggregator.Memory{MaxRemembered: 100_000},
	}
}

// BenchmarkSplitAggregate splits an order into ten lines and packs them again: ns/part.
func BenchmarkSplitAggregate(b *testing.B) {
	h := start(b,
		flow.Step("split", carts, router.Split(func(c *cart) []line { return c.Lines }, lines)),
		flow.Step("pack", lines, pack()),
		flow.Step("ship", packs, endpoint.Do(sink[packed])),
		flow.Direct(carts, lines, packs))
	feed := into(b, h, carts)
	c := &cart{ID: "o1", Lines: make([]line, 10)}
	for i := range c.Lines {
		c.Lines[i] = line{"o1", i}
	}
	ids := uuids()
	ctx := context.Background()
	b.ReportAllocs()
	n := 0
	defer cpu(b)()
	for b.Loop() {
		if err := feed(ctx, ids[n&(copies-1)], c); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(10*n), "ns/part")
}

// BenchmarkAggregate collects the members of 1,000 keys in groups of ten.
func BenchmarkAggregate(b *testing.B) {
	h := start(b,
		flow.Step("pack", lines, pack()),
		flow.Step("ship", packs, endpoint.Do(sink[packed])),
		flow.Direct(lines, packs))
	feed := into(b, h, lines)
	ls := make([]line, 1000)
	for i := range ls {
		ls[i] = line{"k" + strconv.Itoa(i), i}
	}
	ids := uuids()
	ctx := context.Background()
	b.ReportAllocs()
	n := 0
	defer cpu(b)()
	for b.Loop() {
		if err := feed(ctx, ids[n&(copies-1)], ls[n%1000]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// BenchmarkIdempotent has a receiver remember a million ids.
func BenchmarkIdempotent(b *testing.B) {
	ids := uuids()
	ctx := context.Background()
	o := &order{}
	fresh := func() flow.Feed[*order] {
		seen := &idempotency.Memory{Max: 2 * copies, Expect: copies}
		h := start(b,
			flow.Step("do", in, endpoint.Do(sink[*order]), flow.Around(idempotency.Receiver{Store: seen})),
			flow.Direct(in))
		return into(b, h, in)
	}
	feed := fresh()
	b.ReportAllocs()
	n := 0
	defer cpu(b)()
	for b.Loop() {
		if n == copies {
			b.StopTimer()
			feed, n = fresh(), 0
			b.StartTimer()
		}
		if err := feed(ctx, ids[n], o); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// cpu reports the processor time an operation takes, garbage collection included: on a shared machine
// it says more than the time that passes.
func cpu(b *testing.B) (report func()) {
	b.Helper()
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

func uuids() []string {
	ids := make([]string, copies)
	for i := range ids {
		ids[i] = channel.DeriveID("bench", strconv.Itoa(i)).String()
	}
	return ids
}
