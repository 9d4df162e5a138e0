package aggregator

import (
	"math"
	"sync"
	"time"

	"github.com/leat-go/leat/channel"
)

// A scope is what a Memory holds of one step. Times in it are nanoseconds since its epoch, by the
// monotonic clock: a step of the wall clock neither ends a group early nor keeps it.
type scope struct {
	name  string
	epoch time.Time

	mu       sync.Mutex
	groups   map[string]*group // by key, the oldest generation first
	total    int
	open     list
	heap     deadlines
	released released
	free     []*group // to be used again
	counter  int64    // generations
	tokens   uint64
	versions uint64
	listings uint64

	changed  chan struct{} // what Due gave out, nil if nobody waits
	reported int64         // the latest time that somebody who waits for changed will ask again
	wake     chan struct{} // changed, to be closed by unlock
	recent   time.Duration // lease of a claim since the latest Due, of a group without a deadline; 0: none
}

func newScope(name string) *scope {
	now := time.Now()
	return &scope{
		name:   name,
		epoch:  now.Add(-time.Second), // so that no time is 0, which stands for never
		groups: map[string]*group{},
		// Generations are part of what is sent: after a restart they must not begin with those of the
		// process before, or an idempotent receiver behind would take new groups for old ones.
		counter: now.UnixNano(),
	}
}

func (x *scope) now() int64 { return int64(time.Since(x.epoch)) }

// unlock unlocks and wakes whoever waits, in this order: a lock is not held across a channel operation.
func (x *scope) unlock() {
	wake := x.wake
	x.wake = nil
	x.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// notify says that something is due at t.
func (x *scope) notify(t int64) {
	if x.changed != nil && t < x.reported {
		x.wake, x.changed = x.changed, nil
	}
}

// close takes g, which is open, out of the open groups: no member joins it any more.
func (x *scope) close(g *group, reason string) {
	g.phase = waiting
	g.reason = reason
	x.open.remove(g)
}

// claim gives out g, which is not open.
func (x *scope) claim(g *group, now int64, lease time.Duration) Group {
	known := g.index >= 0
	x.tokens++
	g.phase, g.token = claimed, x.tokens
	g.claims++
	g.due = after(now, lease)
	x.heap.set(g)
	if !known { // else whoever waits asks again at its deadline at the latest
		x.recent = lease
		x.notify(g.due)
	}
	return Group{
		Scope: x.name, Key: g.key, Generation: g.generation, Entries: g.entries, Size: len(g.ids),
		Held: g.held, Reason: g.reason, Token: g.token,
	}
}

// dueNow makes g, which is waiting, due.
func (x *scope) dueNow(g *group) {
	g.due = x.now()
	x.heap.set(g)
	x.notify(g.due)
}

// owned gives the group of a claim, nil if it is no longer the claimant's.
func (x *scope) owned(c *Group) *group {
	for g := x.groups[c.Key]; g != nil; g = g.newer {
		if g.generation == c.Generation && g.phase == claimed && g.token == c.Token {
			return g
		}
	}
	return nil
}

// drop forgets a claimed group.
func (x *scope) drop(g *group) {
	x.heap.remove(g)
	x.total--
	switch first := x.groups[g.key]; {
	case first != g:
		for first.newer != g {
			first = first.newer
		}
		first.newer = g.newer
	case g.newer != nil:
		x.groups[g.key] = g.newer
	default:
		delete(x.groups, g.key)
	}
	// Somebody whose claim was taken over may still read the entries: such a group is not used again.
	const groups, members = 1024, 256
	if g.claims == 1 && len(x.free) < groups && cap(g.ids) <= members {
		g.reset()
		x.free = append(x.free, g)
	}
}

// begin opens a group as the newest of its key.
func (x *scope) begin(key string) *group {
	var g *group
	if n := len(x.free); n > 0 {
		g = x.free[n-1]
		x.free = x.free[:n-1]
	} else {
		g = &group{index: -1}
	}
	x.counter++
	g.key, g.generation = key, x.counter
	x.open.push(g)
	x.total++
	if last := x.groups[key]; last != nil {
		for last.newer != nil {
			last = last.newer
		}
		last.newer = g
	} else {
		x.groups[key] = g
	}
	return g
}

func (x *scope) dueAt(now int64, limit int, all bool) (due channel.Due) {
	if limit <= 0 {
		limit = math.MaxInt
	}
	x.listings++
	list := func(g *group) bool {
		first := x.groups[g.key]
		if first.listed == x.listings {
			return false
		}
		first.listed = x.listings
		due.Keys = append(due.Keys, g.key)
		return true
	}
	next := int64(math.MaxInt64)
	var taken []*group
	for len(due.Keys) < limit {
		g := x.heap.top()
		if g == nil || g.due > now {
			break
		}
		x.heap.remove(g)
		taken = append(taken, g)
		if !list(g) {
			next = min(next, g.due) // the key's second group: ask again
		}
	}
	if g := x.heap.top(); g != nil {
		next = min(next, g.due)
	}
	for _, g := range taken {
		x.heap.set(g)
	}
	if all {
		for g := x.open.first; g != nil; g = g.next {
			if len(due.Keys) == limit {
				next = min(next, now)
				break
			}
			list(g)
		}
	}
	if x.recent > 0 { // ask again in a lease, rather than be woken by each claim
		if t := after(now, x.recent); t != 0 {
			next = min(next, t)
		}
		x.recent = 0
	}
	if x.changed == nil {
		x.changed, x.reported = make(chan struct{}), next
	}
	x.reported = max(x.reported, next)
	due.Changed = x.changed
	if next != math.MaxInt64 {
		due.Next = x.epoch.Add(time.Duration(next))
	}
	return due
}
