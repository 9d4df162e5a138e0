package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLedger(t *testing.T) {
	for name, c := range map[string]struct {
		n     int
		marks []int
		want  string // "": all have come
	}{
		"all":             {3, []int{2, 0, 1}, ""},
		"none to come":    {0, nil, ""},
		"one is missing":  {3, []int{0, 2}, "1 of 3 messages have not come"},
		"one came again":  {3, []int{0, 1, 1, 2}, "more than once: 1 of 3"},
		"one is not ours": {3, []int{0, 1, 3}, "no message of this run"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger(c.n)
			for _, i := range c.marks {
				l.mark(body(i))
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errLost)
			select {
			case <-l.over: // or the choice between two that are ready is open
				ctx = t.Context()
			default:
			}
			err := errors.Join(l.wait(ctx), l.check())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Order within a key: neither a later one before, nor two at once.
func TestLedgerSeesDisorder(t *testing.T) {
	const n = 3 * keyCount
	t.Run("in order", func(t *testing.T) {
		l := newLedger(n).watch()
		for i := range n {
			l.during(body(i), func() {})
		}
		if err := errors.Join(l.wait(t.Context()), l.check()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("keys overtake each other", func(t *testing.T) {
		l := newLedger(n).watch()
		l.during(body(1), func() {})
		l.during(body(0), func() {})
		if l.came() != 2 || l.wrong() != nil {
			t.Fatalf("%d done, %v; want 2", l.came(), l.wrong())
		}
	})
	t.Run("one of its key was before", func(t *testing.T) {
		l := newLedger(n).watch()
		l.during(body(keyCount), func() {})
		l.during(body(0), func() {})
		if err := l.wait(t.Context()); !errors.Is(err, errDisorder) {
			t.Fatalf("got %v, want %v", err, errDisorder)
		}
	})
	t.Run("two at once", func(t *testing.T) {
		l := newLedger(n).watch()
		l.during(body(0), func() { l.during(body(keyCount), func() {}) })
		if err := l.wait(t.Context()); !errors.Is(err, errDisorder) {
			t.Fatalf("got %v, want %v", err, errDisorder)
		}
	})
}

func TestBodies(t *testing.T) {
	for i, want := range []int{0, 1, 2, 0} {
		b := body(i)
		if len(b) != bodyBytes || number(b) != i || region(b) != want {
			t.Errorf("body %d has %d bytes, number %d, region %d; want %d, %d, %d: %s", i, len(b), number(b), region(b), bodyBytes, i, want, b)
		}
	}
	for _, b := range []string{"", `{"id":"1`, `{"id":"000000x1"`} {
		if n := number([]byte(b)); n != -1 {
			t.Errorf("%q has number %d", b, n)
		}
	}
}

// spend takes the time it says, and no longer than its context.
func TestSpend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		spend(t.Context(), time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want 1s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		spend(ctx, time.Hour)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %v, want 2s", took)
		}
	})
}
