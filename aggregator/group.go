package aggregator

import (
	"slices"

	"github.com/leat-go/leat/channel"
)

type phase uint8

const (
	open    phase = iota
	waiting       // closed, and nobody's: returned, or over the limit
	claimed
)

// A group is one group in a Memory store.
type group struct {
	key        string
	generation int64
	phase      phase
	entries    []channel.Entry
	ids        []channel.ID // of the members
	many       *idSet       // the same ids, once they are too many to look through
	size       int          // members that complete it; 0: any number
	held       int
	bytes      int
	reason     string
	until      int64  // the absolute deadline; 0: none
	due        int64  // open: the deadline; waiting: the past; claimed: the end of the lease; 0: never
	token      uint64 // of the latest claim
	claims     int
	version    uint64 // of a folded state: no two states of a store have the same
	index      int    // in the heap; -1: not there
	listed     uint64 // the number of the latest Due that listed its key here
	newer      *group // the next generation of the key
	prev, next *group // among the open groups, oldest first
}

// Up to linear members are looked through one by one: 512 bytes, faster than any set.
const linear = 32

func (g *group) has(id channel.ID) bool {
	if g.many != nil {
		return g.many.has(id)
	}
	return slices.Contains(g.ids, id)
}

func (g *group) add(id channel.ID) {
	g.ids = append(g.ids, id)
	switch {
	case g.many != nil:
		g.many.add(id)
	case len(g.ids) > linear:
		g.many = &idSet{}
		for _, id := range g.ids {
			g.many.add(id)
		}
	}
}

func (g *group) overdue(now int64) bool { return g.due != 0 && g.due <= now }

// reset makes g as new but for the memory of its slices.
func (g *group) reset() {
	clear(g.entries)
	*g = group{entries: g.entries[:0], ids: g.ids[:0], index: -1}
}

// A list holds the open groups, oldest first.
type list struct {
	first, last *group
	n           int
}

func (l *list) push(g *group) {
	g.prev = l.last
	if l.last != nil {
		l.last.next = g
	} else {
		l.first = g
	}
	l.last = g
	l.n++
}

func (l *list) remove(g *group) {
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		l.first = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		l.last = g.prev
	}
	g.prev, g.next = nil, nil
	l.n--
}
