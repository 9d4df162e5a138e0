package subscription

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A fifo is a slice to which is added at one end and taken from the other, and needs no more than twice the memory.
func TestFifo(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var q fifo[int]
	var want []int
	most := 0
	for i := range 100_000 {
		switch n := r.IntN(8); {
		case n < 4:
			q.push(i)
			want = append(want, i)
		case len(want) == 0:
		case n < 6:
			if got := q.pop(); got != want[0] {
				t.Fatalf("step %d: %d comes, and it is %d's turn", i, got, want[0])
			}
			want = want[1:]
		case n == 6:
			n := r.IntN(len(want) + 1)
			q.drop(n)
			want = want[n:]
		default:
			x := q.pop()
			q.unpop(x)
			q.unpop(-i)
			want = slices.Insert(want, 0, -i)
		}
		most = max(most, len(want))
		if q.len() != len(want) || !slices.Equal(q.left(), want) {
			t.Fatalf("step %d: %v, not %v", i, q.left(), want)
		}
	}
	if cap(q.items) > 4*most+16 {
		t.Errorf("room for %d, and there were %d at most", cap(q.items), most)
	}
}
