package idempotency

import "github.com/leat-go/leat/channel"

// claims are the keys in progress: few, so the table stays in the processor's cache. A claim keeps its
// index as long as it lives.
type claims struct {
	slots []claim
	heads []int32 // of the chain of each hash, a power of two; index + 1
	free  int32   // head of the chain of free slots; index + 1
	count int
}

type claim struct {
	key    channel.ID
	hash   uint64
	digest Digest
	token  uint64 // 0: the slot is free
	until  int64
	next   int32 // index + 1
}

func (t *claims) at(i int32) *claim { return &t.slots[i] }

// holds reports that slot i is the claim with this token.
func (t *claims) holds(i int32, token uint64) bool {
	return i >= 0 && int(i) < len(t.slots) && t.slots[i].token == token && token != 0
}

// find gives the index of a key's claim, -1 if there is none.
func (t *claims) find(key channel.ID, hash uint64) int32 {
	if t.count == 0 {
		return -1
	}
	i := t.heads[hash&mask(len(t.heads))]
	for i != 0 && t.slots[i-1].key != key {
		i = t.slots[i-1].next
	}
	return i - 1
}

// add adds a claim on a key that has none.
func (t *claims) add(c claim) int32 {
	if t.count >= len(t.heads) {
		t.grow()
	}
	i := t.free
	if i != 0 {
		t.free = t.slots[i-1].next
	} else {
		t.slots = append(t.slots, claim{})
		i = int32(len(t.slots)) //nolint:gosec // Fewer than 2^31 claims are in progress.
	}
	head := &t.heads[c.hash&mask(len(t.heads))]
	c.next, *head = *head, i
	t.slots[i-1] = c
	t.count++
	return i - 1
}

// remove frees slot i.
func (t *claims) remove(i int32) {
	x := &t.slots[i]
	at := &t.heads[x.hash&mask(len(t.heads))]
	for *at != i+1 {
		at = &t.slots[*at-1].next
	}
	*at = x.next
	*x = claim{next: t.free}
	t.free = i + 1
	t.count--
}

// grow doubles the chains.
func (t *claims) grow() {
	const least = 16
	t.heads = make([]int32, max(least, 2*len(t.heads)))
	for i := range t.slots {
		x := &t.slots[i]
		if x.token == 0 {
			continue
		}
		head := &t.heads[x.hash&mask(len(t.heads))]
		x.next, *head = *head, int32(i+1)
	}
}

// mask makes a place in a table of n, a power of two, of a hash.
func mask(n int) uint64 { return uint64(n - 1) } //nolint:gosec // n > 0.
