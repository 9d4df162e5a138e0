package faults_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const defaultSeeds = 200

// number reads a number from the environment.
func number(t *testing.T, name string) (n uint64, ok bool) {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q: want a number", name, s)
	}
	return n, true
}

// seeds has a fault happen under many seeds, or under LEAT_SEED alone. After each the ledger must be
// all zero.
func seeds(t *testing.T, fault func(w *world)) {
	t.Helper()
	fewer(t, 1, fault)
}

// fewer is seeds for a fault that takes so many times longer than others: under so many times fewer.
func fewer(t *testing.T, times uint64, fault func(w *world)) {
	t.Helper()
	t.Parallel()
	one, only := number(t, "LEAT_SEED")
	n, ok := number(t, "LEAT_SEEDS")
	switch {
	case only:
		n = 1
	case !ok || n < defaultSeeds:
		n = defaultSeeds
	}
	if !only {
		n = max(n/times, 1)
	}
	sum := report{}
	for range n {
		seed := one
		if !only {
			seed = rand.Uint64N(1e9)
		}
		r := live(t, seed, fault)
		if t.Failed() || !r.zero() {
			t.Fatalf("LEAT_SEED=%d: %v", seed, r)
		}
		sum.add(r)
	}
	t.Logf("%d seeds: %v", n, sum)
	if !only {
		sum.happened(t)
	}
}

// canFail has the fault happen with its protection taken out, under seeds until the ledger reports
// what it protects from.
func canFail(t *testing.T, kind string, fault func(w *world)) {
	t.Helper()
	const tries = 200 // some faults need one driver of three, and an outage that lasts
	for range tries {
		r := live(t, rand.Uint64N(1e9), fault)
		if t.Failed() {
			t.Fatalf("%v", r)
		}
		if r.faults[kind] > 0 {
			return
		}
	}
	t.Fatalf("without its protection, and %d seeds, the ledger reports nothing under %q: the test cannot fail", tries, kind)
}

// live is one run of a world, in a bubble of virtual time.
func live(t *testing.T, seed uint64, fault func(w *world)) (r report) {
	t.Helper()
	ended := false
	defer func() {
		if !ended {
			t.Logf("LEAT_SEED=%d did not end", seed)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed)
		fault(w)
		r = w.end()
	})
	ended = true
	return r
}
