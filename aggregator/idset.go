package aggregator

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/leat-go/leat/channel"
)

// An idSet is a set of ids in one open table, half full at most. To look for an id that is not there
// reads its tags alone, a byte an id, which stay in the processor's cache where a map of [16]byte does
// not: this is the most frequent operation of all.
type idSet struct {
	tags       []uint8 // of the id in each slot; 0: free
	slots      []channel.ID
	n          int
	seed, salt uint64
}

const minSlots = 64

// find gives the slot of id, or where it would be, its tag, and whether it is there.
func (s *idSet) find(id channel.ID) (slot int, tag uint8, ok bool) {
	// Senders choose ids: without a secret they could choose them all for one slot.
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^s.seed, binary.LittleEndian.Uint64(id[8:])^s.salt)
	hash := hi ^ lo
	mask := len(s.tags) - 1
	slot, tag = int(hash)&mask, uint8(hash>>56)|1 //nolint:gosec // Masked.
	for ; s.tags[slot] != 0; slot = (slot + 1) & mask {
		if s.tags[slot] == tag && s.slots[slot] == id {
			return slot, tag, true
		}
	}
	return slot, tag, false
}

func (s *idSet) has(id channel.ID) bool {
	if s.n == 0 {
		return false
	}
	_, _, ok := s.find(id)
	return ok
}

func (s *idSet) add(id channel.ID) {
	if 2*(s.n+1) > len(s.tags) {
		s.grow()
	}
	if slot, tag, ok := s.find(id); !ok {
		s.tags[slot], s.slots[slot] = tag, id
		s.n++
	}
}

func (s *idSet) grow() {
	tags, slots := s.tags, s.slots
	if tags == nil {
		s.seed, s.salt = rand.Uint64(), rand.Uint64()
	}
	size := max(minSlots, 2*len(tags))
	s.tags, s.slots = make([]uint8, size), make([]channel.ID, size)
	for i, used := range tags {
		if used != 0 {
			slot, tag, _ := s.find(slots[i])
			s.tags[slot], s.slots[slot] = tag, slots[i]
		}
	}
}

// clear empties the set and keeps its memory.
func (s *idSet) clear() {
	clear(s.tags)
	s.n = 0
}
