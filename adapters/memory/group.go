package memory

import (
	"iter"

	"github.com/leat-go/leat/adapters"
)

// A group is a consumer group on one topic: lanes of what it has not finished. The topic's lock guards
// it.
type group struct {
	topic *topic
	name  string // "": of one subscription
	gone  bool
	open  int // records it has not finished
	goal  *goal

	keyless lane
	lanes   []*lane            // by hash of the key, made when needed
	solo    map[*lane]struct{} // of one nacked record each, in Unordered mode

	ready   laneList  // lanes that any member may read
	offered bool      // one of hungry is to be woken for them when the lock is let go
	hungry  []*member // members that wait for one
}

// join gives the named group, new if need be; "" is always new. A new group starts with the oldest
// record the topic still has.
func (t *topic) join(name string) *group {
	if name != "" {
		for _, g := range t.groups {
			if g.name == name {
				return g
			}
		}
	}
	g := &group{topic: t, name: name}
	g.keyless.group, g.keyless.wide = g, t.broker.conf.order == adapters.Unordered
	t.groups = append(t.groups, g)
	for r := t.head; r != nil; r = r.next {
		g.add(r)
	}
	return g
}

// add queues a record for the group.
func (g *group) add(r *record) {
	d := r.delivery()
	d.lane = g.lane(r.key)
	r.open++
	g.open++
	d.lane.push(d)
	d.lane.place()
}

func (g *group) lane(key string) *lane {
	conf := &g.topic.broker.conf
	if key == "" || conf.order != adapters.KeyOrdered {
		return &g.keyless
	}
	if g.lanes == nil {
		g.lanes = make([]*lane, conf.lanes)
	}
	i := hash(key) % conf.lanes
	if g.lanes[i] == nil {
		g.lanes[i] = &lane{group: g}
	}
	return g.lanes[i]
}

// hash is FNV-1a: the same lanes in every run.
func hash(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// offer has one waiting member woken when the lock is let go, if lanes are still ready then: who holds
// the lock often takes them itself.
func (g *group) offer() {
	if !g.offered {
		g.offered = true
		g.topic.offers = append(g.topic.offers, g)
	}
}

// rouse wakes one member that waits: rather one that has nothing to do.
func (g *group) rouse() {
	g.offered = false
	if g.ready.head == nil || len(g.hungry) == 0 {
		return
	}
	m := g.hungry[0]
	for _, other := range g.hungry {
		if len(other.out) == 0 {
			m = other
			break
		}
	}
	m.setHungry(false)
	g.topic.wake = append(g.topic.wake, m)
}

// dissolve removes the group, none of whose records is out. What no other group is still to finish stays only if there is none: then
// nobody has read it, and the next group will.
func (g *group) dissolve() {
	t := g.topic
	g.gone = true
	for i, other := range t.groups {
		if other == g {
			t.groups = append(t.groups[:i], t.groups[i+1:]...)
			break
		}
	}
	for l := range g.all() {
		for d := l.head; d != nil; d = d.next {
			d.rec.open--
			if d.rec.open == 0 && len(t.groups) > 0 && !t.kept {
				t.drop(d.rec)
			}
		}
	}
	t.bury()
}

// all yields every lane the group has.
func (g *group) all() iter.Seq[*lane] {
	return func(yield func(*lane) bool) {
		if !yield(&g.keyless) {
			return
		}
		for _, l := range g.lanes {
			if l != nil && !yield(l) {
				return
			}
		}
		for l := range g.solo {
			if !yield(l) {
				return
			}
		}
	}
}
