package faults_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F19: every message comes five times, reordered within a hundred. No effect is repeated, no group is
// sent twice or with wrong members, though publishes and stores fail too.
func TestF19(t *testing.T) { seeds(t, func(w *world) { f19(w, protection{}) }) }

func TestF19CanFail(t *testing.T) {
	t.Run("no receiver", func(t *testing.T) {
		canFail(t, duplicate, func(w *world) { f19(w, protection{noReceiver: true}) })
	})
	t.Run("no memory of members", func(t *testing.T) {
		canFail(t, mixed, func(w *world) { f19(w, protection{forgets: true}) })
	})
}

// A protection is what a test that must fail takes out.
type protection struct {
	noReceiver bool
	forgets    bool
}

const (
	incoming channel.Topic[item] = "incoming"
	lines    channel.Topic[item] = "lines"
	packed   channel.Topic[pack] = "packed"
)

var errFlaky = errors.New("try again")

// act is the effect of an item. It may fail before, fewer times than there are attempts.
func (w *world) act(m channel.Message[item]) error {
	id := m.Body.ID
	if m.Attempt() < 3 && w.dice.roll(8, "act", id) == 0 {
		w.ledger.count("failed handlers")
		return errFlaky
	}
	if w.dice.roll(4, "act slowly", id) == 0 {
		time.Sleep(time.Duration(w.dice.roll(20, "act how slowly", id)) * time.Millisecond)
	}
	w.ledger.effect(id)
	return nil
}

func f19(w *world, out protection) {
	const deliveries, window = 5, 100
	seen, groups := &idempotency.Memory{}, &aggregator.Memory{}
	g := newGroups(w, "g", 9, 4)
	for range 1 + w.rnd.IntN(2) {
		p := w.process(w.rarely(25))
		p.pub.late = w.rnd.IntN(3) == 0
		around := flow.Around(idempotency.Receiver{Store: seenStore{seen, p}})
		if out.noReceiver {
			around = flow.Around()
		}
		p.run("shop",
			flow.Step("do", incoming, endpoint.DoMessage(w.act), around),
			flow.Step("pack", lines, &aggregator.Aggregator[item, pack]{
				Correlate: func(x item) string { return x.Group }, Combine: combine, To: packed,
				SizeOf: g.sizeOf, Timeout: 10 * time.Minute, Store: groupStore{real: groups, p: p, forgets: out.forgets},
			}),
			flow.Step("ship", packed, endpoint.DoMessage(g.arrived), flow.Around(idempotency.Receiver{Store: seenStore{seen, p}})),
			flow.Workers(1+w.rnd.IntN(8)),
			flow.Policy{Attempts: 5, Backoff: flow.Exponential(20*time.Millisecond, time.Second), DeadLetter: dead},
		)
	}
	type copied struct {
		at  int
		put func()
	}
	var all []copied
	for i := range 30 {
		x, key := item{ID: fmt.Sprint("m", i)}, w.key(6)
		for range deliveries {
			all = append(all, copied{len(all) + w.rnd.IntN(window), func() { w.send(string(incoming), key, x) }})
		}
	}
	for _, x := range g.items {
		for range deliveries {
			all = append(all, copied{w.rnd.IntN(len(all)), func() { w.put(string(lines), x.ID, "", encode(x)) }})
		}
	}
	slices.SortStableFunc(all, func(a, b copied) int { return cmp.Compare(a.at, b.at) })
	for _, x := range all {
		x.put()
	}
	pass(30 * time.Minute)
	g.check()
}

// groups are groups of items, and what arrived of them.
type groups struct {
	w       *world
	name    string
	items   []item
	members map[string][]string        // of each group, sorted
	came    map[string]map[string]bool // ids of what arrived, by group
	whole   int                        // members that complete a group; the last third of them stay smaller
}

func newGroups(w *world, name string, n, size int) *groups {
	g := &groups{w: w, name: name, members: map[string][]string{}, came: map[string]map[string]bool{}, whole: size}
	for i := range n {
		key := fmt.Sprint(name, i)
		k := size
		if i%3 == 2 {
			k = 1 + w.rnd.IntN(size-1)
		}
		for j := range k {
			x := item{ID: fmt.Sprint(key, "-", j), Group: key}
			g.items = append(g.items, x)
			g.members[key] = append(g.members[key], x.ID)
		}
	}
	w.rnd.Shuffle(len(g.items), func(i, j int) { g.items[i], g.items[j] = g.items[j], g.items[i] })
	return g
}

func (g *groups) sizeOf(item) int { return g.whole }

func combine(key string, members []item) (pack, error) {
	p := pack{Group: key}
	for _, x := range members {
		p.Members = append(p.Members, x.ID)
	}
	slices.Sort(p.Members)
	return p, nil
}

// arrived is the effect of a group.
func (g *groups) arrived(m channel.Message[pack]) error {
	l, p := g.w.ledger, m.Body
	if g.w.dice.roll(10, "arrived", p.Group) == 0 && m.Attempt() < 3 {
		return errFlaky
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.came[p.Group] == nil {
		g.came[p.Group] = map[string]bool{}
	}
	if g.came[p.Group][m.ID()] {
		l.note(duplicate, "group %s, id %s", p.Group, m.ID())
	}
	g.came[p.Group][m.ID()] = true
	if !slices.Equal(p.Members, g.members[p.Group]) {
		l.note(mixed, "group %s: %v", p.Group, p.Members)
	}
	return nil
}

// check finds groups that did not arrive, or as several.
func (g *groups) check() {
	l := g.w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range g.members {
		if len(g.came[key]) == 0 {
			l.note(lost, "group %s", key)
		}
	}
	for key, ids := range g.came {
		if len(ids) > 1 {
			l.note(identity, "group %s came as %v", key, ids)
		}
		if !strings.HasPrefix(key, g.name) {
			l.note(alien, "group %s", key)
		}
		l.stats["groups"]++
	}
}
