package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

var errStuck = errors.New("nothing more comes out: it took ten times its time and five minutes")

// A sample is one measurement.
type sample struct {
	rate        float64 // units a second
	allocations float64 // a message
}

// take has n messages done and counts what comes out.
func (r *Row) take(ctx context.Context, l Load, n int, prof profile) (sample, error) {
	if l.Ready != nil {
		if err := l.Ready(ctx, n); err != nil {
			return sample{}, fmt.Errorf("making ready: %w", err)
		}
	}
	// Garbage of the contestant before is not this one's to collect.
	runtime.GC()
	var before, after runtime.MemStats
	done := l.Done()
	runtime.ReadMemStats(&before)
	end, err := prof.begin()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	err = l.Run(ctx, n)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err := errors.Join(err, end()); err != nil {
		return sample{}, err
	}
	want := int64(n * r.units())
	if got := l.Done() - done; got != want {
		return sample{}, fmt.Errorf("%d %s came out, want %d", got, r.unit(), want)
	}
	if l.Check != nil {
		if err := l.Check(ctx); err != nil {
			return sample{}, err
		}
	}
	return sample{
		rate:        float64(want) / max(took, 1).Seconds(),
		allocations: float64(after.Mallocs-before.Mallocs) / float64(n),
	}, nil
}

// fit warms a contestant up for a tenth of d, and says how many messages take about d.
func (r *Row) fit(ctx context.Context, l Load, d time.Duration) (int, error) {
	for n := 1; ; n *= 2 {
		s, err := r.take(ctx, l, n, profile{})
		if err != nil {
			return 0, err
		}
		rate := s.rate / float64(r.units())
		if float64(n) >= rate*d.Seconds()/10 {
			return max(int(rate*d.Seconds()), 1), nil
		}
	}
}

// callers is how many allocations a message are the caller's own.
func (r *Row) callers() float64 {
	if r.Caller == nil {
		return 0
	}
	const n = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r.Caller(n)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / n
}
