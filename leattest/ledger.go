package leattest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/flow"
)

// A Ledger is the books of a test of faults: what was published, what effect it had, where the rest is.
//
//	var l leattest.Ledger
//	pub := l.Publisher(broker)           // of those who feed the flow
//	…                                    // the handler: l.Effect(id)
//	l.Accounts(h.Counts())               // at the end
//	l.Check(t, seed)                     // fails the test unless everything adds up
//
// An effect that is to be counted once is to be noted where the mark of the idempotent receiver is
// written, or by a receiver of its own; a plain handler has more effects than one after a crash, and
// rightly so.
//
// The zero value is ready. It is safe for concurrent use and must not be copied.
type Ledger struct {
	mu      sync.Mutex
	entries map[string]*entry
	order   []*entry // as they were published
	effects []*entry // as they had their first effect
	verdict Verdict  // what was found on the way
}

// An entry is what the ledger knows of one id.
type entry struct {
	id, key   string
	published bool
	tried     bool
	poison    bool
	effects   int
	dead      int
}

func (l *Ledger) entry(id string) *entry {
	e := l.entries[id]
	if e == nil {
		if l.entries == nil {
			l.entries = map[string]*entry{}
		}
		e = &entry{id: id}
		l.entries[id] = e
	}
	return e
}

// Tried notes that a message is about to be published: it may have effects from now on.
func (l *Ledger) Tried(id, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(id)
	if !e.tried {
		e.tried, e.key = true, key
		l.order = append(l.order, e)
	}
}

// Published notes that Publish has returned nil: the message must have an effect from now on. The order
// within a key is that of Tried, or of Published if nothing was tried; note the messages of a key from
// one goroutine.
func (l *Ledger) Published(id, key string) {
	l.Tried(id, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entry(id).published = true
}

// Publisher notes what is published through it.
func (l *Ledger) Publisher(pub message.Publisher) message.Publisher { return bookkeeper{pub, l} }

type bookkeeper struct {
	message.Publisher

	ledger *Ledger
}

// Publish publishes the messages one by one, so that it is known of each whether it went out.
func (b bookkeeper) Publish(topic string, ms ...*message.Message) error {
	for _, m := range ms {
		b.ledger.Tried(m.UUID, keyOf(m))
		if err := b.Publisher.Publish(topic, m); err != nil {
			return err
		}
		b.ledger.Published(m.UUID, keyOf(m))
	}
	return nil
}

// Effect notes that a message had its effect.
func (l *Ledger) Effect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entry(id)
	if e.effects++; e.effects == 1 {
		l.effects = append(l.effects, e)
	}
}

// DeadLetter notes that a message is in the dead letter.
func (l *Ledger) DeadLetter(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entry(id).dead++
}

// Poison says which messages are to end in the dead letter.
func (l *Ledger) Poison(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.entry(id).poison = true
	}
}

// Leave notes what is still unfinished at the end, such as World.Left.
func (l *Ledger) Leave(messages ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.verdict.Left = append(l.verdict.Left, messages...)
}

// Accounts takes the accounting of a flow at rest.
func (l *Ledger) Accounts(counts map[string]flow.Counts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for step, c := range counts {
		if !c.Balanced() || c.InFlight != 0 {
			l.verdict.Unaccounted = append(l.verdict.Unaccounted, fmt.Sprintf("%s: %v", step, c))
		}
	}
	slices.Sort(l.verdict.Unaccounted)
}

// A Verdict lists what does not add up, by id.
type Verdict struct {
	Lost        []string // published, and neither an effect nor a dead letter
	Duplicate   []string // more effects than one, or an effect and a dead letter
	Inverted    []string // first effect after that of a message published later under the same key
	Alien       []string // an effect or a dead letter, and never published
	WronglyDead []string // in the dead letter and no poison, or poison and not there
	Left        []string // unfinished
	Unaccounted []string // steps whose accounting does not balance, or with messages in flight
}

// Verdict looks at the books as they are.
func (l *Ledger) Verdict() Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := Verdict{Left: slices.Clone(l.verdict.Left), Unaccounted: slices.Clone(l.verdict.Unaccounted)}
	for _, e := range l.order {
		if e.published && e.effects+e.dead == 0 && !e.poison {
			v.Lost = append(v.Lost, e.id)
		}
		if e.effects > 1 || e.effects > 0 && e.dead > 0 {
			v.Duplicate = append(v.Duplicate, e.id)
		}
		if e.dead > 0 && !e.poison || e.published && e.poison && e.dead == 0 {
			v.WronglyDead = append(v.WronglyDead, e.id)
		}
	}
	for id, e := range l.entries {
		if !e.tried && e.effects+e.dead > 0 {
			v.Alien = append(v.Alien, id)
		}
	}
	slices.Sort(v.Alien)
	v.Inverted = l.inverted()
	return v
}

// inverted finds, key by key, what had its effect after something younger.
func (l *Ledger) inverted() (ids []string) {
	place, latest := map[*entry]int{}, map[string]int{}
	for i, e := range l.order {
		place[e] = i + 1
	}
	for _, e := range l.effects {
		if e.key == "" {
			continue
		}
		if place[e] < latest[e.key] {
			ids = append(ids, e.id)
		}
		latest[e.key] = max(latest[e.key], place[e])
	}
	return ids
}

// Zero reports whether everything adds up.
func (v Verdict) Zero() bool { return v.String() == "" }

// String gives what does not add up, with a few ids of each kind.
func (v Verdict) String() string {
	const few = 5
	var b strings.Builder
	for _, x := range []struct {
		name string
		ids  []string
	}{
		{"lost", v.Lost},
		{"duplicate", v.Duplicate},
		{"inverted", v.Inverted},
		{"alien", v.Alien},
		{"wrongly dead", v.WronglyDead},
		{"left", v.Left},
		{"unaccounted", v.Unaccounted},
	} {
		if len(x.ids) == 0 {
			continue
		}
		fmt.Fprintf(&b, "; %d %s: %s", len(x.ids), x.name, strings.Join(x.ids[:min(few, len(x.ids))], ", "))
		if len(x.ids) > few {
			b.WriteString(", …")
		}
	}
	return strings.TrimPrefix(b.String(), "; ")
}

// Check fails the test unless everything adds up, and says how to run it again.
func (l *Ledger) Check(t testing.TB, seed uint64) {
	t.Helper()
	if v := l.Verdict(); !v.Zero() {
		t.Errorf("%s: %v", Replay(t, seed), v)
	}
}
