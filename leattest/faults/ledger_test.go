package faults_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What a ledger finds wrong. All must be zero.
const (
	lost        = "lost"         // published, and neither an effect nor a dead letter
	duplicate   = "duplicate"    // effects beyond one
	inverted    = "inverted"     // effects out of the order of their key
	alien       = "alien"        // effects of what was never published
	wronglyDead = "wrongly dead" // in the dead letter and not to be there
	notDead     = "not dead"     // to be in the dead letter and not there
	left        = "left"         // still on the broker
	unaccounted = "unaccounted"  // counted under no heading, or still in flight

	mixed    = "mixed"       // a group with members of another, or without one of its own
	identity = "identity"    // one group under two ids
	tooMany  = "too many"    // members in a group
	resent   = "resent"      // published again although it was known to be published
	open     = "open"        // an effect while the store was down
	slow     = "slow"        // too long after the heal
	again    = "tried again" // processed more often than it may be
)

// A ledger is what went in and what came of it.
type ledger struct {
	mu      sync.Mutex
	keys    map[string]string   // of what was published, by id: its key
	order   map[string][]string // ids by key, as published
	effects map[string]int
	turns   []string        // ids as they had their first effect
	letters map[string]int  // dead letters
	poison  map[string]bool // ids that must die
	may     map[string]bool // ids that may have effects beyond one
	mortal  map[string]bool // ids that may die
	found   map[string]int
	example map[string]string
	stats   map[string]int // that the faults have happened
	ordered bool
}

func newLedger() *ledger {
	return &ledger{
		keys: map[string]string{}, order: map[string][]string{}, effects: map[string]int{},
		letters: map[string]int{}, poison: map[string]bool{}, may: map[string]bool{}, mortal: map[string]bool{}, found: map[string]int{},
		example: map[string]string{}, stats: map[string]int{},
	}
}

// published is called when Publish has returned nil; for copies too.
func (l *ledger) published(id, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.keys[id]; known {
		return
	}
	l.keys[id] = key
	if key != "" {
		l.order[key] = append(l.order[key], id)
	}
}

// dies says that the message must end in the dead letter.
func (l *ledger) dies(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.poison[id] = true
}

// mayDie says that the message may end in the dead letter.
func (l *ledger) mayDie(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mortal[id] = true
}

// repeats says that the message may have more effects than one.
func (l *ledger) repeats(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.may[id] = true
}

// effect is called by whoever does what a message is for.
func (l *ledger) effect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.effects[id]++; l.effects[id] == 1 {
		l.turns = append(l.turns, id)
	}
}

func (l *ledger) letter(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.letters[id]++
}

func (l *ledger) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.effects[id] > 0
}

// wrong notes a fault.
func (l *ledger) wrong(kind, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(kind, format, args...)
}

func (l *ledger) note(kind, format string, args ...any) {
	if l.found[kind]++; l.found[kind] == 1 {
		l.example[kind] = fmt.Sprintf(format, args...)
	}
}

// count notes that something happened, which is no fault.
func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats[what]++
}

// close compares.
func (l *ledger) close() report {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.keys {
		switch n := l.effects[id]; {
		case l.poison[id] && l.letters[id] == 0:
			l.note(notDead, "%s", id)
		case n+l.letters[id] == 0:
			l.note(lost, "%s", id)
		case !l.may[id] && (n > 1 || n > 0 && l.poison[id]):
			l.note(duplicate, "%s: %d effects", id, n)
		}
	}
	for id := range l.effects {
		if _, known := l.keys[id]; !known {
			l.note(alien, "%s", id)
		}
	}
	for id := range l.letters {
		if !l.poison[id] && !l.mortal[id] {
			l.note(wronglyDead, "%s", id)
		}
	}
	if l.ordered {
		l.inversions()
	}
	l.stats["effects"] += len(l.effects)
	l.stats["dead letters"] += len(l.letters)
	return report{faults: l.found, examples: l.example, stats: l.stats}
}

// inversions finds effects that came before one that was published earlier under the same key.
func (l *ledger) inversions() {
	place, last := map[string]int{}, map[string]string{}
	for _, ids := range l.order {
		for i, id := range ids {
			place[id] = i
		}
	}
	for _, id := range l.turns {
		key := l.keys[id]
		if key == "" {
			continue
		}
		if before, ok := last[key]; ok && place[id] < place[before] {
			l.note(inverted, "key %s: %s before %s", key, before, id)
		}
		last[key] = id
	}
}

// A report is what a ledger found.
type report struct {
	faults   map[string]int
	examples map[string]string
	stats    map[string]int
}

func (r report) zero() bool { return len(r.faults) == 0 }

func (r *report) add(x report) {
	if r.stats == nil {
		r.stats = map[string]int{}
	}
	for k, n := range x.stats {
		r.stats[k] += n
	}
}

// happened fails a test none of whose messages had an effect: it would pass whatever happens.
func (r report) happened(t *testing.T) {
	t.Helper()
	if r.stats["effects"] == 0 {
		t.Fatal("no message had an effect")
	}
}

func (r report) String() string {
	var b strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(r.faults)) {
		fmt.Fprintf(&b, "%s %d (%s); ", kind, r.faults[kind], r.examples[kind])
	}
	for _, what := range slices.Sorted(maps.Keys(r.stats)) {
		fmt.Fprintf(&b, "%d %s, ", r.stats[what], what)
	}
	return strings.TrimRight(b.String(), ",; ")
}
