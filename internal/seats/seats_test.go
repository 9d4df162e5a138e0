package seats_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/leat-go/leat/internal/seats"
)

// While there are lanes for them, every key has one of its own; then they are shared evenly. Breaks if a key's hash
// chooses its lane.
func TestEveryKeyHasItsOwn(t *testing.T) {
	const lanes = 64
	l := seats.New(lanes)
	taken := map[int]bool{}
	for i := range lanes {
		taken[l.Take(strconv.Itoa(i))] = true
	}
	if len(taken) != lanes {
		t.Fatalf("%d keys are on %d lanes", lanes, len(taken))
	}
	var more []string
	for i := range lanes * 15 {
		more = append(more, strconv.Itoa(lanes+i))
	}
	at, on := l.TakeEach(nil, 1, more...), map[int]int{}
	for i, lane := range at {
		if l.Take(more[i]) != lane {
			t.Errorf("key %s is on lane %d and on another", more[i], lane)
		}
		l.Leave(more[i])
		on[lane]++
	}
	for lane, n := range on {
		if n > 40 { // 15 on average; of two, the less busy keeps far from that
			t.Errorf("lane %d has %d more keys", lane, n)
		}
	}
}

// A key stays where it is until all of its messages are through, whatever comes and goes beside it, and lanes that
// are through are used again. Breaks if a key is on two lanes at once.
func TestAKeyStays(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const lanes, keys = 8, 20
	l := seats.New(lanes)
	type under struct{ lane, n int }
	now := map[string]under{}
	for range 20_000 {
		key := strconv.Itoa(r.IntN(keys))
		u := now[key]
		if r.IntN(2) == 0 {
			lane := l.Take(key)
			if u.n > 0 && u.lane != lane {
				t.Fatalf("key %s is on lanes %d and %d", key, u.lane, lane)
			}
			now[key] = under{lane, u.n + 1}
		} else if u.n > 0 {
			l.Leave(key)
			now[key] = under{u.lane, u.n - 1}
		}
	}
	for key, u := range now {
		for range u.n {
			l.Leave(key)
		}
	}
	taken := map[int]bool{}
	for i := range lanes {
		taken[l.Take("new "+strconv.Itoa(i))] = true
	}
	if len(taken) != lanes {
		t.Errorf("%d lanes of %d are used again", len(taken), lanes)
	}
	l.Leave("nobody") // is nothing
}

// Of one call, keys without a lane share one until it has as many messages as may be together; a key that has one
// keeps it.
func TestTogether(t *testing.T) {
	l := seats.New(4)
	has := l.Take("a")
	at := l.TakeEach(nil, 2, "b", "a", "c", "d", "b", "e")
	b, d := at[0], at[3]
	if b == has || d == has || b == d {
		t.Errorf("b, d and a are on lanes %d, %d and %d", b, d, has)
	}
	if want := []int{b, has, b, d, b, d}; !slices.Equal(at, want) {
		t.Errorf("lanes %v, not %v", at, want)
	}
}

// A seat that nobody sits on is not kept for ever. Breaks if a key that is through is never forgotten.
func TestSeatsAreForgotten(t *testing.T) {
	l := seats.New(4)
	stays := l.Take("stays")
	for i := range 100_000 {
		key := strconv.Itoa(i)
		l.Take(key)
		l.Leave(key)
	}
	if n := l.Keys(); n > 2000 {
		t.Errorf("%d keys are kept", n)
	}
	if l.Take("stays") != stays {
		t.Error("the key that stays is on two lanes")
	}
}
