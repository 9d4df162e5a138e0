//go:build unix

package flow_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
)

// The same work as the benchmarks beside these, by hand: a loop and a map, with no policy, no identity, no
// accounting, no way out of an error. It says how fast the machine is at the moment.

func BenchmarkPlainContentRouter(b *testing.B) {
	ctx, o := context.Background(), &order{Region: "AS"}
	routes := []struct {
		match func(*order) bool
		to    func(context.Context, *order) error
	}{{from("EU"), sink[*order]}, {from("US"), sink[*order]}, {from("AS"), sink[*order]}}
	defer cpu(b)()
	for b.Loop() {
		for _, r := range routes {
			if r.match(o) {
				_ = r.to(ctx, o)
				break
			}
		}
	}
}

func BenchmarkPlainAggregate(b *testing.B) {
	ls := make([]line, 1000)
	for i := range ls {
		ls[i] = line{"k" + strconv.Itoa(i), i}
	}
	ids := uuids()
	var mu sync.Mutex
	open, seen := map[string][]line{}, make(map[string]struct{}, 100_000)
	ctx := context.Background()
	n := 0
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		l, id := ls[n%1000], ids[n&(copies-1)]
		n++
		mu.Lock()
		if _, dup := seen[id]; dup && n < copies {
			mu.Unlock()
			continue
		}
		if len(seen) == 100_000 {
			clear(seen)
		}
		seen[id] = struct{}{}
		group := open[l.Order]
		group = append(group, l)
		open[l.Order] = group
		full := len(group) == 10
		if full {
			delete(open, l.Order)
		}
		mu.Unlock()
		if full {
			_ = sink(ctx, packed{l.Order, len(group)})
		}
	}
}

func BenchmarkPlainIdempotent(b *testing.B) {
	ids := uuids()
	var mu sync.Mutex
	seen := make(map[string]struct{}, copies)
	ctx, o := context.Background(), &order{}
	n := 0
	b.ReportAllocs()
	defer cpu(b)()
	for b.Loop() {
		if n == copies {
			b.StopTimer()
			clear(seen)
			n = 0
			b.StartTimer()
		}
		mu.Lock()
		_, dup := seen[ids[n]]
		mu.Unlock()
		if !dup {
			_ = sink(ctx, o)
			mu.Lock()
			seen[ids[n]] = struct{}{}
			mu.Unlock()
		}
		n++
	}
}
