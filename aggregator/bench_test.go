package aggregator

import (
	"context"
	"fmt"
	"testing"

	"github.com/leat-go/leat/channel"
)

type part struct{ key string }

type whole struct{ n int }

func parts() []any {
	ps := make([]any, 1000)
	for i := range ps {
		ps[i] = &part{fmt.Sprintf("key-%d", i)}
	}
	return ps
}

// feed runs b.N members of different ids through a, from the call of the block to the settle.
func feed(b *testing.B, a channel.Processor[*part], body func(i int) any) {
	b.Helper()
	ids := make([]string, b.N)
	for i := range ids {
		ids[i] = channel.NewID().String()
	}
	stage := channel.Erase(a)
	ctx := context.Background()
	var e channel.Envelope
	var r channel.Result
	arrival := channel.Arrival{Context: ctx, Topic: "parts", Scope: "bench/step", HasBody: true}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range ids {
		arrival.ID, arrival.Body = ids[i], body(i)
		e.Arrive(&arrival)
		if err := stage(&e, &r); err != nil {
			b.Fatal(err)
		}
		if f := r.Settler(); f != nil {
			if err := f(ctx, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func count(_ string, ps []*part) (*whole, error) { return &whole{len(ps)}, nil }

func counter() *Aggregator[*part, *whole] {
	return &Aggregator[*part, *whole]{
		Correlate: func(p *part) string { return p.key },
		Combine:   count, To: "wholes", Size: 10, MaxOpen: 10_000_000, Store: &Memory{},
	}
}

// 1,000 keys at once, groups of 10.
func BenchmarkInterleaved(b *testing.B) {
	ps := parts()
	feed(b, counter(), func(i int) any { return ps[i%len(ps)] })
}

// The same with a deadline for each group.
func BenchmarkInterleavedTimeout(b *testing.B) {
	ps := parts()
	a := counter()
	a.Timeout = 3600e9
	feed(b, a, func(i int) any { return ps[i%len(ps)] })
}

// Ten parts after each other, as they come from a split.
func BenchmarkRuns(b *testing.B) {
	ps := parts()
	feed(b, counter(), func(i int) any { return ps[i/10%len(ps)] })
}

func BenchmarkFold(b *testing.B) {
	ps := parts()
	a := counter()
	a.Combine = nil
	a.Fold = func(acc *whole, _ *part) (*whole, error) {
		if acc == nil {
			return &whole{1}, nil
		}
		return &whole{acc.n + 1}, nil
	}
	feed(b, a, func(i int) any { return ps[i%len(ps)] })
}

// A million groups are open beside those that are measured.
func BenchmarkMillionOpen(b *testing.B) {
	const groups = 1_000_000
	a := counter()
	a.Timeout = 3600e9
	for i := range groups {
		e := channel.NewEntry(channel.NewID().String(), "", nil, []byte("x"))
		got, err := a.Store.Add(context.Background(), AddRequest{
			Scope: "bench/step", Key: fmt.Sprintf("open-%d", i), Entry: e, Size: 10, Timeout: a.Timeout,
		})
		if err != nil || got.State != Opened {
			b.Fatal(got, err)
		}
	}
	ps := parts()
	feed(b, a, func(i int) any { return ps[i%len(ps)] })
}
