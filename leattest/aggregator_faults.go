package leattest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
)

func testAggregatorFold(t *testing.T, s *aggregatorStore) {
	folded := 0
	fold := func(id string) aggregator.AddRequest {
		r := s.request("k", id)
		r.Fold = func(state channel.Entry, first bool) (channel.Entry, bool, error) {
			folded++
			if id == "bad" {
				return channel.Entry{}, false, errAggregatorFold
			}
			p, err := state.Payload()
			if first {
				p = nil
			}
			return channel.NewEntry("state", "", nil, []byte(string(p)+id)), id == "d", err
		}
		r.Size = 10
		return r
	}
	s.add(fold("a"), aggregator.Opened)
	s.add(fold("b"), aggregator.Opened)
	before := folded
	if a := s.add(fold("a"), aggregator.Duplicate); a.Size != 2 {
		t.Fatalf("the same member again: %+v; want size 2", a)
	}
	if folded != before {
		t.Fatal("a member that is in the group was folded again")
	}
	if _, err := s.Add(t.Context(), fold("bad")); !errors.Is(err, errAggregatorFold) {
		t.Fatalf("error of Fold: %v; want it to come out as it is", err)
	}
	// Another comes while one is being folded: neither is lost.
	slow, inner := fold("c"), 0
	slow.Fold = func(state channel.Entry, first bool) (channel.Entry, bool, error) {
		if inner++; inner == 1 {
			s.add(fold("x"), aggregator.Opened)
		}
		return fold("c").Fold(state, first)
	}
	s.add(slow, aggregator.Opened)
	g := s.add(fold("d"), aggregator.Completed).Group
	if g.Size != 5 || g.Held != 4 || g.Reason != aggregator.CompletedByPredicate || len(g.Entries) != 1 {
		t.Fatalf("folded group %+v; want 5 members, 4 held, one entry, by predicate", g)
	}
	if p, err := g.Entries[0].Payload(); string(p) != "abxcd" || err != nil {
		t.Fatalf("state %q, %v; want abxcd", p, err)
	}
	s.give(g)
	g = s.claimed("k", "c")
	s.release(g)
	s.add(fold("b"), aggregator.Released)
	s.add(fold("e"), aggregator.Opened)
}

var errAggregatorFold = errors.New("cannot be folded")

// Of many who add at once, one for each group completes it, and every member is in one group.
func testAggregatorOneOfMany(t *testing.T, s *aggregatorStore) {
	const adders, each, size = 16, 30, 3
	var mu sync.Mutex
	var groups []aggregator.Group
	var wg sync.WaitGroup
	for i := range adders {
		wg.Go(func() {
			for j := range each {
				r := s.request("k", fmt.Sprint(i, "-", j))
				r.Size = size
				for again := range 2 {
					a, err := s.Add(t.Context(), r)
					switch {
					case err != nil:
						t.Errorf("Add: %v", err)
					case a.State == aggregator.Completed && again == 0:
						mu.Lock()
						groups = append(groups, a.Group)
						mu.Unlock()
					case again == 0 && a.State != aggregator.Opened:
						t.Errorf("first Add: %v", a.State)
					case again == 1 && a.State != aggregator.Duplicate && a.State != aggregator.Closed:
						t.Errorf("second Add: %v", a.State)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(groups) != adders*each/size {
		t.Fatalf("%d claims; want %d, one for each group", len(groups), adders*each/size)
	}
	seen, generations := map[string]int{}, map[int64]bool{}
	for _, g := range groups {
		generations[g.Generation] = true
		for _, id := range entryIDs(g.Entries) {
			seen[id]++
		}
		if len(g.Entries) != size || g.Held != size-1 {
			t.Fatalf("group %+v; want %d members", g, size)
		}
	}
	if len(seen) != adders*each || len(generations) != len(groups) {
		t.Fatalf("%d members in %d generations; want %d in %d", len(seen), len(generations), adders*each, len(groups))
	}
	// Of many who claim, no two get one group.
	begun := time.Now()
	s.give(groups[0])
	if got := claimAtOnce(s, adders); len(got) != 1 && time.Since(begun) < s.lease/2 || !got[groups[0].Generation] {
		t.Fatalf("of %d claims with one group free %d were granted", adders, len(got))
	}
	s.expire()
	if got := claimAtOnce(s, adders); len(got) != adders || got[groups[0].Generation] {
		t.Fatalf("of %d claims with %d leases over %d were granted", adders, len(groups)-1, len(got))
	}
}

// claimAtOnce claims n groups of the key k for an hour at once and gives their generations.
func claimAtOnce(s *aggregatorStore, n int) map[int64]bool {
	var mu sync.Mutex
	got := map[int64]bool{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			g, err := s.Claim(s.t.Context(), aggregator.ClaimRequest{Scope: aggregatorScope, Key: "k", Lease: time.Hour})
			if err != nil {
				if !errors.Is(err, aggregator.ErrBusy) {
					s.t.Errorf("Claim: %v; want ErrBusy", err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if got[g.Generation] {
				s.t.Errorf("generation %d was claimed twice at once", g.Generation)
			}
			got[g.Generation] = true
		})
	}
	wg.Wait()
	return got
}

func testAggregatorFoldOfMany(t *testing.T, s *aggregatorStore) {
	const adders, each = 8, 25
	var mu sync.Mutex
	var last aggregator.Group
	var wg sync.WaitGroup
	for i := range adders {
		wg.Go(func() {
			for j := range each {
				id := fmt.Sprint(i, "-", j)
				r := s.request("k", id)
				r.Size = adders * each
				r.Fold = func(state channel.Entry, first bool) (channel.Entry, bool, error) {
					p, err := state.Payload()
					if first {
						p = nil
					}
					return channel.NewEntry("state", "", nil, []byte(string(p)+id+" ")), false, err
				}
				a, err := s.Add(t.Context(), r)
				if err != nil || a.State != aggregator.Opened && a.State != aggregator.Completed {
					t.Errorf("Add: %v, %v", a.State, err)
				}
				if a.State == aggregator.Completed {
					mu.Lock()
					last = a.Group
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(last.Entries) != 1 {
		t.Fatalf("group %+v; want one entry", last)
	}
	p, err := last.Entries[0].Payload()
	members := strings.Fields(string(p))
	slices.Sort(members)
	if members = slices.Compact(members); err != nil || len(members) != adders*each || last.Size != adders*each {
		t.Fatalf("%d different members folded of %d, %v; want %d", len(members), last.Size, err, adders*each)
	}
}

// F23: a worker may die before or after any call of the store, before and after the publish and before
// the acknowledge. Each of 1,000 groups comes out all the same: its members, under one id.
func testAggregatorCrashes(t *testing.T, s *aggregatorStore) {
	w := newAggregatorWorld(t, s, true)
	w.run(1000)
	if w.crashes < 100 {
		t.Fatalf("seed %d: %d crashes: the test does not crash where it says", w.seed, w.crashes)
	}
	if w.ghosts > 0 || w.split > 0 || w.wrong > 0 || w.lost > 0 {
		t.Fatalf("seed %d: %d ghost groups, %d groups under two ids, %d with wrong members, %d lost", w.seed, w.ghosts, w.split, w.wrong, w.lost)
	}
}

// The same without the memory of released ids: what it is for.
func testAggregatorGhosts(t *testing.T, s *aggregatorStore) {
	w := newAggregatorWorld(t, s, false)
	w.run(300)
	if w.ghosts == 0 {
		t.Fatalf("seed %d: nothing was remembered and no ghost group came out: the crash test cannot fail", w.seed)
	}
}

// An aggregatorWorld is a topic of lines in random order, workers that die, and what they published.
type aggregatorWorld struct {
	t         *testing.T
	s         *aggregatorStore
	seed      uint64
	rnd       *rand.Rand
	remember  bool
	dead      bool // the worker of the moment
	crashes   int
	published map[string]map[channel.ID][]string // by key and id: the members

	ghosts, split, wrong, lost int
}

type aggregatorLine struct{ Order, SKU string }

func newAggregatorWorld(t *testing.T, s *aggregatorStore, remember bool) *aggregatorWorld {
	var seed uint64
	for seed = range Seeds(t, 1) {
		t.Log(Replay(t, seed))
	}
	return &aggregatorWorld{
		t: t, s: s, seed: seed, remember: remember,
		rnd:       rand.New(rand.NewPCG(seed, 23)),
		published: map[string]map[channel.ID][]string{},
	}
}

func (w *aggregatorWorld) run(groups int) {
	const size = 3
	var queue []aggregatorLine
	for i := range groups {
		for j := range size {
			queue = append(queue, aggregatorLine{Order: fmt.Sprint("o", i), SKU: strconv.Itoa(j)})
		}
	}
	w.rnd.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
	a := &aggregator.Aggregator[aggregatorLine, []string]{
		Correlate: func(l aggregatorLine) string { return l.Order },
		Combine: func(_ string, ls []aggregatorLine) (skus []string, _ error) {
			for _, l := range ls {
				skus = append(skus, l.SKU)
			}
			slices.Sort(skus)
			return skus, nil
		},
		To: "packed", Size: size, Store: mortalStore{w.s, w}, Lease: w.s.lease,
	}
	clock := a.Shape().Inlets[0].Clock
	for rounds := 0; len(queue) > 0; rounds++ {
		if rounds > 200 {
			w.t.Fatalf("seed %d: %d messages are not done after %d leases", w.seed, len(queue), rounds)
		}
		var again []aggregatorLine
		for _, l := range queue {
			if !w.message(a, l) {
				again = append(again, l)
			}
			w.dead = false // another worker
		}
		progress := len(again) < len(queue)
		queue = again
		if !progress || len(queue) == 0 {
			w.s.expire()
		}
		w.tick(clock)
	}
	w.s.expire()
	for w.tick(clock) {
	}
	for i := range groups {
		w.judge(fmt.Sprint("o", i), size)
	}
}

// message gives a line to a worker and reports whether it was acknowledged.
func (w *aggregatorWorld) message(a *aggregator.Aggregator[aggregatorLine, []string], l aggregatorLine) bool {
	var e channel.Envelope
	e.Arrive(&channel.Arrival{
		Context: w.t.Context(), Topic: "lines", Scope: aggregatorScope, ID: l.Order + "/" + l.SKU, Body: l, HasBody: true,
	})
	var r channel.Result
	err := channel.Erase[aggregatorLine](a)(&e, &r)
	return err == nil && w.finish(&e, &r) && !w.dies()
}

// tick fires what is due and reports whether anything was.
func (w *aggregatorWorld) tick(clock *channel.Timer) bool {
	d := w.s.due(100, false)
	for _, key := range d.Keys {
		var e channel.Envelope
		e.Arrive(&channel.Arrival{Context: w.t.Context(), Scope: aggregatorScope, ID: "clock/" + key, Key: key, Tick: true})
		if r, err := clock.Fire(w.t.Context(), aggregatorScope, key); err == nil {
			w.finish(&e, &r)
		}
		w.dead = false
	}
	return len(d.Keys) > 0
}

// finish publishes and settles, if the worker lives so long.
func (w *aggregatorWorld) finish(cause *channel.Envelope, r *channel.Result) bool {
	for i := range r.Len() {
		if w.dies() {
			return false
		}
		var e channel.Envelope
		e.Follow(cause, r.At(i), i, "")
		if w.published[e.Key()] == nil {
			w.published[e.Key()] = map[channel.ID][]string{}
		}
		skus, _ := r.At(i).Body().([]string)
		if before, ok := w.published[e.Key()][e.UID()]; ok && !slices.Equal(before, skus) {
			w.wrong++
		}
		w.published[e.Key()][e.UID()] = skus
	}
	if w.dies() {
		return false
	}
	if f := r.Settler(); f != nil {
		return f(w.t.Context(), nil) == nil
	}
	return true
}

func (w *aggregatorWorld) judge(key string, size int) {
	members := 0
	for _, skus := range w.published[key] {
		if len(skus) == size && len(slices.Compact(slices.Clone(skus))) == size {
			members++
			continue
		}
		w.ghosts++ // of some members that came again
	}
	switch {
	case members > 1:
		w.split++
	case members == 0:
		w.lost++
	}
	w.ghosts += w.open(key)
}

// open counts the groups of a key that wait for members that never come.
func (w *aggregatorWorld) open(key string) int {
	if _, err := w.s.claim(key, "", true); err == nil {
		return 1
	}
	return 0
}

// dies lets the worker die now and then.
func (w *aggregatorWorld) dies() bool {
	if !w.dead && w.rnd.IntN(12) == 0 {
		w.dead = true
		w.crashes++
	}
	return w.dead
}

var errAggregatorDead = errors.New("worker is dead")

// mortalStore is the store as a worker sees it: each call may be its last, before or after it is done.
type mortalStore struct {
	aggregator.Store
	w *aggregatorWorld
}

func (m mortalStore) Add(ctx context.Context, r aggregator.AddRequest) (aggregator.Added, error) {
	if m.w.dies() {
		return aggregator.Added{}, errAggregatorDead
	}
	a, err := m.Store.Add(ctx, r)
	if m.w.dies() {
		return aggregator.Added{}, errAggregatorDead
	}
	return a, err
}

func (m mortalStore) Claim(ctx context.Context, r aggregator.ClaimRequest) (aggregator.Group, error) {
	if m.w.dies() {
		return aggregator.Group{}, errAggregatorDead
	}
	g, err := m.Store.Claim(ctx, r)
	if m.w.dies() {
		return aggregator.Group{}, errAggregatorDead
	}
	return g, err
}

func (m mortalStore) Release(ctx context.Context, r aggregator.ReleaseRequest) error {
	if m.w.dies() {
		return errAggregatorDead
	}
	if !m.w.remember {
		r.Remember = 0
	}
	err := m.Store.Release(ctx, r)
	if m.w.dies() {
		return errAggregatorDead
	}
	return err
}

func (m mortalStore) Return(ctx context.Context, g aggregator.Group) error {
	if m.w.dies() {
		return errAggregatorDead
	}
	return m.Store.Return(ctx, g)
}
