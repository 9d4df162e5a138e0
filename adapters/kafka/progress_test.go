package kafka

import (
	"math/rand/v2"
	"testing"

	"github.com/leat-go/leat/leattest"
)

// Records are given out, finished in any order and left out, some hundred of them between the first that is not finished
// and the last. What is known of them is what a plain list knows. Breaks if something finished is forgotten, which holds the
// commit for ever, or if a gap is passed over, which loses it.
func TestProgress(t *testing.T) {
	for seed := range leattest.Seeds(t, 50) {
		testProgress(t, seed)
	}
}

func testProgress(t *testing.T, seed uint64) {
	defer func() {
		if t.Failed() {
			t.Log(leattest.Replay(t, seed))
		}
	}()
	type record struct {
		end  int64
		done bool
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	offset := int64(rnd.IntN(1000))
	p := progress{mark: offset}
	var all []record // by number
	base, mark := 0, offset
	most := 1 + rnd.IntN(2000) // that are out or behind one that is
	for range 3000 {
		switch rnd.IntN(4) {
		case 0:
			for range rnd.IntN(most) {
				if len(all)-base >= most {
					break
				}
				offset += 1 + int64(rnd.IntN(3)*rnd.IntN(2))
				if n := p.give(offset); n != uint64(len(all)) {
					t.Fatalf("record %d has number %d", len(all), n)
				}
				all = append(all, record{end: offset})
			}
		case 1:
			for range rnd.IntN(most) {
				if len(all) == base {
					break
				}
				n := base + rnd.IntN(len(all)-base)
				if rnd.IntN(2) == 0 { // the oldest, or there would be no prefix
					n = base
				}
				if out := p.out(uint64(n)); out == all[n].done {
					t.Fatalf("of %d to %d, record %d is out: %v", base, len(all), n, out)
				} else if out {
					p.finish(uint64(n))
					all[n].done = true
				}
			}
		case 2:
			was := base
			for base < len(all) && all[base].done {
				mark = all[base].end
				base++
			}
			if moved := p.advance(); moved != (base > was) {
				t.Fatalf("at record %d of %d it moves on: %v", was, len(all), moved)
			}
		case 3:
			offset++
			if p.skip(offset); len(all) > base {
				all[len(all)-1].end = offset
			} else {
				mark = offset
			}
		}
		if p.base != uint64(base) || p.next != uint64(len(all)) || p.mark != mark {
			t.Fatalf("records %d to %d are known, and %d is finished, want %d to %d and %d", p.base, p.next, p.mark, base, len(all), mark)
		}
		if p.out(uint64(len(all))) || base > 0 && p.out(uint64(base-1)) {
			t.Fatalf("a record is out that is not among %d to %d", base, len(all))
		}
	}
}
