package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/examples/orders/domain"
	"github.com/leat-go/leat/flow"
)

// A state is where an order is.
type state string

// Every order received is under exactly one of these in the end, inFlight not among them.
const (
	inFlight      state = ""
	isConfirmed   state = "confirmed"
	isBackOrdered state = "back-ordered"
	isRefused     state = "refused"
	isInvalid     state = "invalid"
	isDead        state = "dead letter"
)

// A ledger knows where every order is. It writes a line for each as it is done, in the order they came.
type ledger struct {
	mu      sync.Mutex
	out     io.Writer
	err     error // of out
	all     []*entry
	byID    map[string]*entry
	queue   []*entry // those whose line is not written yet
	open    int      // in flight
	putBack int
	changed chan struct{} // closed when one is done
}

type entry struct {
	name, text string
	state      state
	letters    []*message.Message // the dead ones of its messages: as long as there are any it isDead
}

func newLedger(out io.Writer) *ledger {
	return &ledger{out: out, byID: map[string]*entry{}, changed: make(chan struct{})}
}

// receive notes an order that came in. False: there is one of that id.
func (l *ledger) receive(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byID[id] != nil {
		return false
	}
	l.byID[id] = l.add(id)
	return true
}

func (l *ledger) add(name string) *entry {
	e := &entry{name: name}
	l.all, l.queue = append(l.all, e), append(l.queue, e)
	l.open++
	return e
}

// turnAway notes what came in and cannot be taken. It has no id, so it has the name it is given.
func (l *ledger) turnAway(name string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(l.add(name), isInvalid, why.Error())
}

// set says what an order came to. Said again it changes nothing, for a message may come twice.
func (l *ledger) set(id string, s state, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.byID[id]; e != nil && e.state == inFlight {
		l.finish(e, s, text)
	}
}

func (l *ledger) finish(e *entry, s state, text string) {
	e.state, e.text = s, strings.TrimPrefix(text, domain.ErrInvalid.Error()+": ")
	l.open--
	for len(l.queue) > 0 && l.queue[0].state != inFlight {
		l.write(l.queue[0].name, string(l.queue[0].state), l.queue[0].text)
		l.queue = l.queue[1:]
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *ledger) write(name, what, text string) {
	if _, err := fmt.Fprintf(l.out, "%-8s  %-12s  %s\n", name, what, text); err != nil && l.err == nil {
		l.err = fmt.Errorf("writing what became of %s: %w", name, err)
	}
}

// bury notes a dead letter: its order waits until the letter is put back.
func (l *ledger) bury(letter *message.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.byID[letter.Metadata[channel.HeaderKey]]
	if e == nil || e.state != inFlight && e.state != isDead {
		return
	}
	e.letters = append(e.letters, letter)
	if e.state == inFlight {
		l.finish(e, isDead, letter.Metadata[flow.DeadStep]+": "+letter.Metadata[flow.DeadError])
	}
}

// letters gives the dead letters, in the order in which their orders came.
func (l *ledger) letters() (all []*message.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.all {
		all = append(all, e.letters...)
	}
	return all
}

// reopen notes that a letter is put back. With the last of them its order is in flight again.
func (l *ledger) reopen(letter *message.Message) {
	id := letter.Metadata[channel.HeaderKey]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write(id, "put back", "for "+letter.Metadata[flow.DeadStep]+", after the shelf was counted")
	l.putBack++
	e := l.byID[id]
	e.letters = slices.DeleteFunc(e.letters, func(m *message.Message) bool { return m == letter })
	if len(e.letters) == 0 {
		e.state = inFlight
		l.queue = append(l.queue, e)
		l.open++
	}
}

// rest waits until no order is in flight.
func (l *ledger) rest(ctx context.Context) error {
	for {
		l.mu.Lock()
		open, changed := l.open, l.changed
		l.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d orders are still in flight: %w", open, context.Cause(ctx))
		}
	}
}

// places gives the place of each order, as they came.
func (l *ledger) places() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	places := map[string]int{}
	for i, e := range l.all {
		places[e.name] = i
	}
	return places
}

// count says how many orders are in each state.
func (l *ledger) count() (received int, in map[state]int, putBack int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in = map[state]int{}
	for _, e := range l.all {
		in[e.state]++
	}
	return len(l.all), in, l.putBack
}
