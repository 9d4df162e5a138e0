package idempotency

import (
	"hash/maphash"
	"math/bits"

	"github.com/leat-go/leat/channel"
)

// marks are the done keys of one generation, in the order in which they came, and an index: a table with
// open addressing, four bytes a slot. Keys are only ever added. A new key, the common case, touches one
// slot of the index and the end of the list: the index has 8 bits of each key's hash, so that other
// keys, which are in no cache, are rarely read. There are no pointers in it, and so the garbage
// collector need not read it either.
type marks struct {
	seed    maphash.Seed
	index   []uint32 // 0: free; else 8 bits of the hash and 24 of the position in list, from 1
	list    []mark
	since   int64 // when the first was added; 0: none was
	bytes   int   // of results
	results map[channel.ID]string
}

// A mark says that a key is done.
type mark struct {
	key    channel.ID
	digest Digest
	until  int64 // remembered until then
}

const (
	positionBits = 24
	maxMarks     = 1<<positionBits - 1
)

func hashOf(seed maphash.Seed, key *channel.ID) uint64 { return maphash.Bytes(seed, key[:]) }

// tagOf is made of bits of the hash that choose neither shard nor slot.
func tagOf(hash uint64) uint32 { return uint32(hash>>56) << positionBits }

// make makes room for n keys.
func (t *marks) make(n int) {
	if n > 0 {
		t.list = make([]mark, 0, n)
		t.reindex(n)
	}
}

// find gives the key's mark, nil if there is none.
func (t *marks) find(key *channel.ID, hash uint64) *mark {
	if len(t.list) == 0 {
		return nil
	}
	tag, mask := tagOf(hash), mask(len(t.index))
	for i := hash & mask; t.index[i] != 0; i = (i + 1) & mask {
		if x := t.index[i]; x&^maxMarks == tag {
			if m := &t.list[x&maxMarks-1]; m.key == *key {
				return m
			}
		}
	}
	return nil
}

// put adds a mark, or writes the key's anew.
func (t *marks) put(hash uint64, m *mark, result string) {
	if x := t.find(&m.key, hash); x != nil {
		*x = *m
	} else {
		const parts = 4 // one of them stays free
		if len(t.list) >= len(t.index)/parts*(parts-1) {
			t.reindex(2 * len(t.list))
		}
		t.list = append(t.list, *m)
		t.insert(hash, len(t.list))
	}
	if result == "" && t.results == nil {
		return
	}
	if t.results == nil {
		t.results = map[channel.ID]string{}
	}
	t.bytes += len(result) - len(t.results[m.key])
	t.results[m.key] = result
}

// insert indexes the key at a position, from 1.
func (t *marks) insert(hash uint64, position int) {
	mask := mask(len(t.index))
	i := hash & mask
	for t.index[i] != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = tagOf(hash) | uint32(position) //nolint:gosec // At most maxMarks.
}

// reindex makes an index for n keys.
func (t *marks) reindex(n int) {
	const least = 16
	n = max(n, least)
	t.index = make([]uint32, 1<<bits.Len(uint(n+n/2-1)))
	for k := range t.list {
		t.insert(hashOf(t.seed, &t.list[k].key), k+1)
	}
}

// live counts the marks that are not out of date.
func (t *marks) live(now int64) (n int) {
	for i := range t.list {
		if t.list[i].until > now {
			n++
		}
	}
	return n
}

// empty forgets all. What there is of memory is used again.
func (t *marks) empty() {
	clear(t.index)
	t.list, t.since, t.bytes, t.results = t.list[:0], 0, 0, nil
}
