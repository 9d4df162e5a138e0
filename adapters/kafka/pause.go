package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// pause is how long to wait before the n-th try in a row, from 1: random up to base, which doubles with
// every try, up to most.
func pause(base, most time.Duration, n int) time.Duration {
	limit := most
	if n = max(n-1, 0); n < 32 && base <= most>>n {
		limit = base << n
	}
	return limit/2 + rand.N(limit/2+1)
}

// sleep waits for d and reports whether ctx is still wanted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
