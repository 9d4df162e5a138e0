package main

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

const (
	carts channel.Topic[*cart]  = "carts"
	lines channel.Topic[line]   = "lines"
	packs channel.Topic[packed] = "packs"

	groupSize = 10
	keys      = 1000
	// remembered is how many ids are kept, by ours of groups and by hand of lines.
	remembered = 100_000
)

func pack(id string, ls []line) (packed, error) { return packed{id, len(ls)}, nil }

func packing() *aggregator.Aggregator[line, packed] {
	return &aggregator.Aggregator[line, packed]{
		Correlate: func(l line) string { return l.Order },
		Combine:   pack,
		To:        packs, Size: groupSize, Timeout: time.Minute, Store: &aggregator.Memory{MaxRemembered: remembered},
	}
}

// groups is the aggregator by hand: a map of open groups, and one of the ids seen. It forgets all ids at
// once, and nothing of it runs out by time.
type groups struct {
	mu   sync.Mutex
	open map[string][]line
	seen map[string]struct{}
	to   func(context.Context, packed) error
}

func newGroups(t *tally) *groups {
	return &groups{open: map[string][]line{}, seen: make(map[string]struct{}, remembered), to: all(t)}
}

func (g *groups) add(ctx context.Context, id string, l line) error {
	full := g.put(id, l)
	if full == nil {
		return nil
	}
	p, err := pack(l.Order, full)
	if err != nil {
		return err
	}
	return g.to(ctx, p)
}

// put gives the group that the line has made full.
func (g *groups) put(id string, l line) []line {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, dup := g.seen[id]; dup {
		return nil
	}
	if len(g.seen) == remembered {
		clear(g.seen)
	}
	g.seen[id] = struct{}{}
	group := g.open[l.Order]
	group = append(group, l)
	if len(group) < groupSize {
		g.open[l.Order] = group
		return nil
	}
	delete(g.open, l.Order)
	return group
}

// splitRow splits carts into ten lines each and packs them again, and counts lines.
func splitRow(ids *identities) measure.Row {
	c := &cart{ID: "1", Lines: make([]line, groupSize)}
	for i := range c.Lines {
		c.Lines[i] = line{c.ID, i}
	}
	split := func(c *cart) []line { return c.Lines }
	plain := func(context.Context) (measure.Load, error) {
		t, id := &tally{}, ids.get()
		g := newGroups(t)
		return byHand(t, func(ctx context.Context, n, first int) error {
			for i := first; i < first+n; i++ {
				for j, l := range split(c) {
					if err := g.add(ctx, id(groupSize*i+j), l); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	ours := func(ctx context.Context) (measure.Load, error) {
		t, id := &tally{}, ids.get()
		return inProcess(ctx, carts, t, func(i int) (string, *cart) { return id(i), c },
			flow.Step("split", carts, router.Split(split, lines)),
			flow.Step("pack", lines, packing()),
			flow.Step("ship", packs, endpoint.Do(all(t))),
			flow.Direct(carts, lines, packs))
	}
	r := direct("split into 10 and aggregate", plain, ours)
	r.Unit, r.Units, r.Count = "parts", groupSize, million/groupSize
	return r
}

// aggregateRow collects the lines of a thousand keys in groups of ten.
func aggregateRow(ids *identities) measure.Row {
	ls := make([]line, keys)
	for i := range ls {
		ls[i] = line{"k" + strconv.Itoa(i), i}
	}
	plain := func(context.Context) (measure.Load, error) {
		t, id := &tally{}, ids.get()
		g := newGroups(t)
		return byHand(t, func(ctx context.Context, n, first int) error {
			for i := first; i < first+n; i++ {
				if err := g.add(ctx, id(i), ls[i%keys]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ours := func(ctx context.Context) (measure.Load, error) {
		t, id := &tally{}, ids.get()
		return inProcess(ctx, lines, t, func(i int) (string, line) { return id(i), ls[i%keys] },
			flow.Step("pack", lines, packing()),
			flow.Step("ship", packs, endpoint.Do(all(t))),
			flow.Direct(lines, packs))
	}
	r := direct("aggregate 1,000 keys in groups of 10", plain, ours)
	r.Count = million
	return r
}
