package memory

import "time"

// A lane is a queue of records that keep their order: those whose keys have one hash, or those without
// a key, or in Ordered mode all. While records of it are out it belongs to the member that has them.
type lane struct {
	group      *group
	head, tail *delivery
	out        int     // records given out, not finished
	owner      *member // who has them

	// wide lanes, the one of Unordered mode, keep no order: any record may be out with anybody.
	wide bool
	// returned: a record has come back while others were out. Nothing is given until those are
	// settled too, for some of them may come back and belong before the rest.
	returned bool
	nacked   bool // one of those that came back was nacked: pause when all are settled
	paused   bool
	fails    int // nacks in a row

	in         *laneList // where it waits to be read, nil if it does not
	prev, next *lane
}

func (l *lane) push(d *delivery) {
	d.next = nil
	if l.tail == nil {
		l.head = d
	} else {
		l.tail.next = d
	}
	l.tail = d
}

func (l *lane) pop() *delivery {
	d := l.head
	l.head = d.next
	if l.head == nil {
		l.tail = nil
	}
	d.next = nil
	return d
}

// insert puts a record back to where its number belongs: near the head.
func (l *lane) insert(d *delivery) {
	at := &l.head
	for *at != nil && (*at).rec.number < d.rec.number {
		at = &(*at).next
	}
	d.next = *at
	*at = d
	if d.next == nil {
		l.tail = d
	}
}

// place puts the lane where those who may read it look for it, and offers it to them. It is called
// after every change; the topic's lock is held.
func (l *lane) place() {
	if l.out == 0 && !l.wide {
		l.owner, l.returned = nil, false
		if l.nacked {
			l.nacked = false
			l.pause()
		}
	}
	var to *laneList
	switch {
	case l.head == nil || l.paused || l.group.gone:
	case l.wide || l.out == 0:
		to = &l.group.ready
	case !l.returned && l.owner.deep:
		to = &l.owner.ready
	}
	if l.in == to {
		return
	}
	if l.in != nil {
		l.in.remove(l)
	}
	if to == nil {
		return
	}
	to.push(l)
	if to == &l.group.ready {
		l.group.offer()
	} else {
		l.owner.rouse()
	}
}

// pause takes the lane out of reading for the time its nacks in a row call for. Nobody sleeps: it is a
// state that a timer ends.
func (l *lane) pause() {
	t := l.group.topic
	l.paused = true
	time.AfterFunc(t.broker.conf.backoff.pause(l.fails), func() {
		t.mu.Lock()
		l.paused = false
		l.place()
		t.unlock()
	})
}

// A laneList is a queue of lanes that have something to give.
type laneList struct{ head, tail *lane }

func (ls *laneList) push(l *lane) {
	l.in, l.prev, l.next = ls, ls.tail, nil
	if ls.tail == nil {
		ls.head = l
	} else {
		ls.tail.next = l
	}
	ls.tail = l
}

func (ls *laneList) remove(l *lane) {
	if l.prev == nil {
		ls.head = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		ls.tail = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.in, l.prev, l.next = nil, nil, nil
}
