package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// pause is how long to wait before the n-th try in a row, from 1: random up to base, which doubles with
// every try, up to most. It is a sixteenth of that at least, so that nobody tries without a pause.
func pause(base, most time.Duration, n int) time.Duration {
	limit := most
	if n = max(n-1, 0); n < 32 && base <= most>>n {
		limit = base << n
	}
	least := limit / 16 //nolint:mnd // As above.
	return least + rand.N(limit-least+1)
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
