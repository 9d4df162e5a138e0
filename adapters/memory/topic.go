package memory

import (
	"container/list"
	"fmt"
	"sync"

	"github.com/leat-go/leat/adapters"
)

// A topic is a log of the records that some group, or nobody yet, has not finished. Its lock guards
// all that hangs on it: groups, lanes, members, records, publishers that wait. The lock is not held
// while anybody is woken or called: unlock does that.
type topic struct {
	broker *Broker
	name   string
	kept   bool // whole, whoever has read it

	mu         sync.Mutex
	dead       bool // no longer the broker's: look it up again
	head, tail *record
	size       int
	numbers    uint64
	groups     []*group
	queue      list.List // of *pending: publishes that wait for room

	offers  []*group   // that have lanes ready
	wake    []*member  // to wake when the lock is let go
	settled []*pending // to complete when the lock is let go
}

// unlock lets waiting publishes in, gives up the lock, then wakes members and completes publishes.
func (t *topic) unlock() {
	t.let()
	if len(t.wake) == 0 && len(t.settled) == 0 {
		t.mu.Unlock()
		return
	}
	var few [8]*member
	wake, settled := append(few[:0], t.wake...), t.settled
	clear(t.wake)
	t.wake, t.settled = t.wake[:0], nil
	t.mu.Unlock()
	awake(wake)
	complete(settled)
}

// let lets waiting publishes in and finds whom to wake. The lock is held.
func (t *topic) let() {
	if t.queue.Len() > 0 {
		t.admit()
	}
	for i, g := range t.offers {
		g.rouse()
		t.offers[i] = nil
	}
	t.offers = t.offers[:0]
}

func awake(ms []*member) {
	for _, m := range ms {
		select {
		case m.wake <- struct{}{}:
		default: // it has been told
		}
	}
}

// store puts a record on the log and into every group.
func (t *topic) store(r *record) {
	r.number = t.numbers
	t.numbers++
	r.prev = t.tail
	if t.tail == nil {
		t.head = r
	} else {
		t.tail.next = r
	}
	t.tail = r
	t.size++
	for _, g := range t.groups {
		g.add(r)
	}
}

// drop takes a record off the log: every group has finished it.
func (t *topic) drop(r *record) {
	if r.prev == nil {
		t.head = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		t.tail = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.prev, r.next = nil, nil
	t.size--
}

// full reports whether there is no room: some group, or nobody at all, has Bound records before it.
func (t *topic) full() bool { return t.fullWithout(nil) }

// fullWithout is full, once groups have finished some of what they have.
func (t *topic) fullWithout(freed map[*group]int) bool {
	for _, g := range t.groups {
		if g.open-freed[g] >= t.broker.conf.bound {
			return true
		}
	}
	return len(t.groups) == 0 && !t.kept && t.size >= t.broker.conf.bound
}

// errFull says what the topic is full of.
func (t *topic) errFull() error {
	bound := t.broker.conf.bound
	for _, g := range t.groups {
		if g.open >= bound && g.name != "" {
			return fmt.Errorf("topic %q: %w: %d messages that group %q has not acknowledged; have it read faster or raise Broker.Bound (%d)",
				t.name, adapters.ErrFull, g.open, g.name, bound)
		}
	}
	if len(t.groups) > 0 {
		return fmt.Errorf("topic %q: %w: %d messages that a subscriber without a group has not acknowledged; have it read faster or raise Broker.Bound (%d)",
			t.name, adapters.ErrFull, t.size, bound)
	}
	return fmt.Errorf("topic %q: %w: %d messages that nobody has read; subscribe to it or raise Broker.Bound (%d)",
		t.name, adapters.ErrFull, t.size, bound)
}

// bury takes a topic that holds nothing off the broker, so that names used once cost nothing.
func (t *topic) bury() {
	if len(t.groups) == 0 && t.size == 0 && t.queue.Len() == 0 {
		t.dead = true
		t.broker.topics.CompareAndDelete(t.name, t)
	}
}
