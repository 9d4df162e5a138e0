package aggregator

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/leat-go/leat/channel"
)

// An idSet is a set of ids in one slice, half full at most. A map of [16]byte costs two to three times
// as much for each member that is added, and this is the most frequent operation of all.
type idSet struct {
	slots      []channel.ID // zero: free
	n          int
	zero       bool // the zero id is in the set
	seed, salt uint64
}

const minSlots = 64

// slot is where id is, or where it would be.
func (s *idSet) slot(id channel.ID) int {
	// Senders choose ids: without a secret they could choose them all for one slot.
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^s.seed, binary.LittleEndian.Uint64(id[8:])^s.salt)
	mask := len(s.slots) - 1
	i := int(hi^lo) & mask //nolint:gosec // Masked.
	for s.slots[i] != id && s.slots[i] != (channel.ID{}) {
		i = (i + 1) & mask
	}
	return i
}

func (s *idSet) has(id channel.ID) bool {
	if s.n == 0 {
		return false
	}
	if id == (channel.ID{}) {
		return s.zero
	}
	return s.slots[s.slot(id)] == id
}

func (s *idSet) add(id channel.ID) {
	if 2*(s.n+1) > len(s.slots) {
		s.grow()
	}
	if id == (channel.ID{}) {
		if !s.zero {
			s.zero = true
			s.n++
		}
		return
	}
	if i := s.slot(id); s.slots[i] != id {
		s.slots[i] = id
		s.n++
	}
}

func (s *idSet) grow() {
	old := s.slots
	if s.slots == nil {
		s.seed, s.salt = rand.Uint64(), rand.Uint64() //nolint:gosec // Against chosen ids, not for secrecy.
	}
	s.slots = make([]channel.ID, max(minSlots, 2*len(old)))
	for _, id := range old {
		if id != (channel.ID{}) {
			s.slots[s.slot(id)] = id
		}
	}
}

// clear empties the set and keeps its memory.
func (s *idSet) clear() {
	clear(s.slots)
	s.n, s.zero = 0, false
}
