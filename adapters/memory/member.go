package memory

import (
	"cmp"
	"slices"

	"github.com/leat-go/leat/adapters"
)

// A member reads for a group: one subscription or one claim. The topic's lock guards it, except wake.
type member struct {
	group *group
	deep  bool // a claim: it may have many records of one lane out
	limit int  // records it may have out
	gone  bool

	out     []*delivery
	ready   laneList // lanes it holds that have more to give
	turn    bool     // whose lanes come next: its own or free ones
	hungry  bool     // it is in the group's list
	blocked bool     // it waits for its own records to be finished

	wake chan struct{} // holds one token: look again
}

// fate is what became of a record that was out.
type fate uint8

const (
	acked fate = iota
	nacked
	lost      // its member went: delivered again, at once
	unoffered // it never reached anybody: no delivery is counted
)

// stride is how many records of one lane a claim takes before it looks at the next lane.
const stride = 16

func (m *member) setHungry(hungry bool) {
	if m.hungry == hungry {
		return
	}
	m.hungry = hungry
	if hungry {
		m.group.hungry = append(m.group.hungry, m)
		return
	}
	i := slices.Index(m.group.hungry, m)
	m.group.hungry = slices.Delete(m.group.hungry, i, i+1)
}

// rouse wakes the member if it waits for its own lanes or window.
func (m *member) rouse() {
	if m.hungry || m.blocked {
		m.setHungry(false)
		m.blocked = false
		m.group.topic.wake = append(m.group.topic.wake, m)
	}
}

// next gives the lane to read from, nil if there is none.
func (m *member) next() *lane {
	own, free := m.ready.head, m.group.ready.head
	m.turn = !m.turn
	if own != nil && (free == nil || m.turn) {
		return own
	}
	return free
}

// give hands the lane's first record to the member. The caller places the lane.
func (m *member) give(l *lane) *delivery {
	d := l.pop()
	d.owner, d.at = m, len(m.out)
	m.out = append(m.out, d)
	l.owner = m
	l.out++
	return d
}

// one takes a record, nil if there is none: then the member is hungry, or blocked by its window.
func (m *member) one() *delivery {
	l := m.group.ready.head
	switch {
	case m.gone:
		return nil
	case len(m.out) >= m.limit:
		m.blocked = true
		return nil
	case l == nil:
		m.setHungry(true)
		return nil
	}
	m.setHungry(false)
	d := m.give(l)
	m.relist(l)
	m.leaveRest()
	return d
}

// many appends to run, up to its capacity, what there is. If that is nothing the member is hungry, or
// blocked by its window.
func (m *member) many(run []*adapters.Record) []*adapters.Record {
	was := len(run)
	var made []adapters.Record // not used yet
	for len(run) < cap(run) && len(m.out) < m.limit && !m.gone {
		l := m.next()
		if l == nil {
			break
		}
		for n := 0; n < stride && l.head != nil && len(run) < cap(run) && len(m.out) < m.limit; n++ {
			if len(made) == 0 {
				made = make([]adapters.Record, min(stride, cap(run)-len(run)))
			}
			made[0] = m.give(l).record()
			run, made = append(run, &made[0]), made[1:]
		}
		m.relist(l)
	}
	m.leaveRest()
	m.blocked = len(run) == was && len(m.out) >= m.limit
	m.setHungry(len(run) == was && !m.blocked && !m.gone)
	return run
}

// relist puts a lane that was read behind the others.
func (m *member) relist(l *lane) {
	if l.in != nil {
		l.in.remove(l)
	}
	l.place()
}

// leaveRest has another member look at what this one has left.
func (m *member) leaveRest() {
	if m.group.ready.head != nil {
		m.group.offer()
	}
}

// has reports whether d, delivered for the again-th time, is out with the member.
func (m *member) has(d *delivery, again int) bool {
	return d.rec.topic == m.group.topic && d.owner == m && d.again == again
}

// settle takes a record back from the member.
func (m *member) settle(d *delivery, f fate) {
	last := len(m.out) - 1
	m.out[d.at] = m.out[last]
	m.out[d.at].at = d.at
	m.out[last] = nil
	m.out = m.out[:last]
	d.owner = nil
	d.lane.out--
	if f == acked {
		m.group.finish(d)
	} else {
		m.group.back(d, f)
	}
	if m.blocked {
		m.rouse()
	}
}

// finish ends a delivery.
func (g *group) finish(d *delivery) {
	l, r := d.lane, d.rec
	if !l.returned {
		l.fails = 0
	}
	g.open--
	r.open--
	if r.open == 0 && !g.topic.kept {
		g.topic.drop(r)
	}
	g.goal.finished(r)
	if l.head == nil && l.out == 0 && g.solo != nil {
		delete(g.solo, l)
	}
	l.place()
}

// back puts a record to its place in its lane.
func (g *group) back(d *delivery, f fate) {
	if f != unoffered {
		d.again++
	}
	if f == nacked && d.lane.wide {
		// Only this record has to wait, so it gets a lane of its own.
		d.lane = &lane{group: g}
		if g.solo == nil {
			g.solo = map[*lane]struct{}{}
		}
		g.solo[d.lane] = struct{}{}
	}
	l := d.lane
	l.insert(d)
	if !l.wide {
		l.returned = true
	}
	if f == nacked && !l.nacked {
		l.nacked = true
		l.fails++
	}
	l.place()
}

// leave gives back what is out and takes the member from its group, which ends with it if it has no
// name. It may be called again.
func (m *member) leave() {
	if m.gone {
		return
	}
	m.gone = true
	m.setHungry(false)
	m.blocked = false
	g := m.group
	out := slices.Clone(m.out)
	slices.SortFunc(out, func(a, b *delivery) int { return cmp.Compare(b.rec.number, a.rec.number) })
	for _, d := range out {
		m.settle(d, lost)
	}
	if g.name == "" {
		g.dissolve()
		return
	}
	m.leaveRest() // the token that woke this member is another's now
}
