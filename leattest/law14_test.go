package leattest_test

import (
	"strings"
	"testing"

	"github.com/leat-go/leat/leattest"
)

// A seed names one history, byte for byte, and another seed another one. What would break it: a
// goroutine, a random id, or the order of a map, in the core or in a block.
func TestLaw14ASeedNamesOneHistory(t *testing.T) {
	known := map[string]uint64{}
	for seed := range leattest.Seeds(t, 20) {
		one := leattest.Simulation{Seed: seed}.Run(t, packing(true))
		two := leattest.Simulation{Seed: seed}.Run(t, packing(true))
		sameHistory(t, seed, one, two)
		if one.String() != two.String() {
			t.Errorf("%s: histories of one hash and two texts", leattest.Replay(t, seed))
		}
		if n := strings.Count(one.String(), "\n"); n < 200 || one.Kills == 0 {
			t.Errorf("%s: %d events and %d kills: that is no history", leattest.Replay(t, seed), n, one.Kills)
		}
		if other, dup := known[one.Hash()]; dup {
			t.Errorf("seeds %d and %d name the same history: the seed chooses nothing", other, seed)
		}
		known[one.Hash()] = seed
	}
}
