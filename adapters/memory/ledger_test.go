package memory_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A state is what a group has to do with one message.
type state struct {
	acked bool      // acknowledged, and known to have been
	maybe int       // acknowledgements of which nobody knows whether they were in time
	out   *actor    // who has it
	back  time.Time // it was returned
}

// A ledger knows, of one group, every message that was taken, and checks each delivery: nothing comes
// again after its acknowledgement, and nothing overtakes what has its key.
type ledger struct {
	t       *testing.T
	name    string
	ordered bool

	mu     sync.Mutex
	states map[string][]state // by key, in the order of publishing
	over   bool               // everybody has stopped
	failed atomic.Bool        // one fault is enough to read
}

// An actor is one life of a member.
type actor struct {
	name string
	deep bool // a claim: it may have many of one key
	gone bool // it has stopped: what it has may be delivered to others
}

// id is "key/sequence number under it".
func split(id string) (key string, n int) {
	i := strings.LastIndexByte(id, '/')
	n, _ = strconv.Atoi(id[i+1:])
	return id[:i], n
}

func (l *ledger) at(id string) ([]state, int) {
	key, n := split(id)
	for len(l.states[key]) <= n {
		l.states[key] = append(l.states[key], state{})
	}
	return l.states[key], n
}

func (l *ledger) fault(format string, args ...any) {
	if l.failed.CompareAndSwap(false, true) {
		l.t.Errorf("group %s: %s", l.name, fmt.Sprintf(format, args...))
	}
}

func (l *ledger) delivered(id string, a *actor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	states, n := l.at(id)
	switch s := &states[n]; {
	case s.acked:
		l.fault("%s was delivered to %s after it was acknowledged", id, a.name)
	case s.out != nil && !s.out.gone && !l.over:
		l.fault("%s was delivered to %s while %s had it", id, a.name, s.out.name)
	default:
		s.out = a
	}
	if !l.ordered {
		return
	}
	for i, s := range states[:n] {
		// A claim may have more of the key out; and what is returned in this very instant of virtual
		// time may have been returned after this delivery.
		has := a.deep && (s.out == a || s.back.Equal(time.Now()))
		if !s.acked && s.maybe == 0 && !has {
			l.fault("%s was delivered to %s before %d was acknowledged", id, a.name, i)
		}
	}
}

// acking is told before a message is acknowledged, for the next may be delivered before Ack returns.
func (l *ledger) acking(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	states, n := l.at(id)
	states[n].maybe++
}

// acknowledged is told when it is certain, or certain that it was too late.
func (l *ledger) acknowledged(id string, a *actor, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	states, n := l.at(id)
	s := &states[n]
	if !ok {
		s.maybe--
		return
	}
	if s.out != a {
		l.fault("%s was acknowledged by %s, but another had it", id, a.name)
	}
	s.acked = true
}

// returned is told before a message is given back.
func (l *ledger) returned(id string, a *actor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if states, n := l.at(id); states[n].out == a {
		states[n].out, states[n].back = nil, time.Now()
	}
}

// stops is told before a member stops.
func (l *ledger) stops(a *actor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.gone = true
}

// end is told before everybody stops at once, which is when every message is acknowledged, or may have been. One of
// which that was too late may still be out, and may then be delivered to others.
func (l *ledger) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// open counts the taken messages that nobody has acknowledged.
func (l *ledger) open(taken map[string]bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, ok := range taken {
		states, i := l.at(id)
		switch {
		case ok && !states[i].acked && states[i].maybe == 0:
			n++
		case !ok && states[i] != state{}:
			l.fault("%s was delivered although its publish failed", id)
		}
	}
	return n
}
