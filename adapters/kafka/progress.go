package kafka

import "math/bits"

// progress knows what of a partition was given out and what of that is finished, in any order. Records are
// numbered as they are given out, since their offsets have gaps. The finished prefix is what may be
// committed: never beyond a gap.
type progress struct {
	base uint64 // the first that is not finished
	next uint64 // the number of the next record

	// Rings of a power of two entries, at least next-base.
	done []uint64 // bits
	end  []int64  // the offset behind each record
	mark int64    // the offset behind the finished prefix
}

const firstRing = 256

// give numbers a record that ends before offset end.
func (p *progress) give(end int64) uint64 {
	if p.next-p.base >= uint64(len(p.end)) {
		p.grow()
	}
	n := p.next
	p.end[n%uint64(len(p.end))] = end
	p.next++
	return n
}

// skip notes that everything before offset end, behind the last record, is finished.
func (p *progress) skip(end int64) {
	if p.next > p.base {
		p.end[(p.next-1)%uint64(len(p.end))] = end
	} else {
		p.mark = end
	}
}

func (p *progress) grow() {
	size := max(2*len(p.end), firstRing)
	done, end := make([]uint64, size/64), make([]int64, size)
	for n := p.base; n < p.next; n++ {
		old, at := n%uint64(len(p.end)), n%uint64(size)
		end[at] = p.end[old]
		done[at/64] |= p.done[old/64] >> (old % 64) & 1 << (at % 64)
	}
	p.done, p.end = done, end
}

// out reports whether a record was given out and is not finished.
func (p *progress) out(n uint64) bool {
	if n < p.base || n >= p.next {
		return false
	}
	at := n % uint64(len(p.end))
	return p.done[at/64]>>(at%64)&1 == 0
}

// finish notes that a record that is out is finished.
func (p *progress) finish(n uint64) {
	at := n % uint64(len(p.end))
	p.done[at/64] |= 1 << (at % 64)
}

// advance moves on over what is finished, and reports whether there was any.
func (p *progress) advance() bool {
	was := p.base
	for p.base < p.next {
		at := p.base % uint64(len(p.end))
		word, shift := at/64, at%64
		n := bits.TrailingZeros64(^(p.done[word] >> shift))
		n = min(n, int(64-shift))
		if n == 0 {
			break
		}
		run := ^uint64(0)
		if n < 64 {
			run = 1<<n - 1
		}
		p.done[word] &^= run << shift
		p.base += uint64(n) //nolint:gosec // From 1 to 64.
	}
	if p.base == was {
		return false
	}
	p.mark = p.end[(p.base-1)%uint64(len(p.end))]
	return true
}
