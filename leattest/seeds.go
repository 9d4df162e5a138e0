package leattest

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// Seeds gives n seeds for a test of faults, other ones each time; LEAT_SEEDS gives that many instead,
// and LEAT_SEED that one alone. Print Replay with whatever fails.
func Seeds(t testing.TB, n int) iter.Seq[uint64] {
	t.Helper()
	if seed, ok := number(t, "LEAT_SEED"); ok {
		return func(yield func(uint64) bool) { yield(seed) }
	}
	if more, ok := number(t, "LEAT_SEEDS"); ok {
		n = int(more) //nolint:gosec // Nobody asks for 2^63.
	}
	first := uint64(rand.Uint32())
	return func(yield func(uint64) bool) {
		for i := range n {
			if !yield(first + uint64(i)) {
				return
			}
		}
	}
}

func number(t testing.TB, name string) (n uint64, ok bool) {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q: give it a number", name, text)
	}
	return n, true
}

// Replay is the command that has the test run again with the seed.
func Replay(t testing.TB, seed uint64) string {
	t.Helper()
	return fmt.Sprintf("LEAT_SEED=%d go test -run '^%s$'", seed, regexp.QuoteMeta(t.Name()))
}

// pass lets time pass, unless ctx ends before.
func pass(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
