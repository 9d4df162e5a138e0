package leattest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
)

// AggregatorStore is the conformance suite of aggregator.Store, in virtual time: open, called inside of
// the bubble of each subtest, gives an empty store that lives in the process, or whose server does.
func AggregatorStore(t *testing.T, open func(t *testing.T) aggregator.Store) {
	t.Helper()
	s := aggregatorSuite{open: open, lease: 10 * time.Second}
	s.run(t, synctest.Test)
}

// AggregatorServer is the same suite in real time, for a store on a server: it waits for leases of the
// given length to run out, about twenty times. Choose the shortest that a slow test machine keeps;
// 500 ms is a start.
func AggregatorServer(t *testing.T, lease time.Duration, open func(t *testing.T) aggregator.Store) {
	t.Helper()
	s := aggregatorSuite{open: open, lease: lease}
	s.run(t, func(t *testing.T, f func(t *testing.T)) { t.Helper(); f(t) })
}

type aggregatorSuite struct {
	open  func(t *testing.T) aggregator.Store
	lease time.Duration
}

func (s *aggregatorSuite) run(t *testing.T, in func(*testing.T, func(*testing.T))) {
	t.Helper()
	for _, x := range []struct {
		name string
		test func(*testing.T, *aggregatorStore)
	}{
		{"members", testAggregatorMembers},
		{"completion", testAggregatorCompletion},
		{"generations", testAggregatorGenerations},
		{"claim", testAggregatorClaim},
		{"takeover", testAggregatorTakeover},
		{"return", testAggregatorReturn},
		{"timeout", testAggregatorTimeout},
		{"idle", testAggregatorIdle},
		{"due", testAggregatorDue},
		{"changed", testAggregatorChanged},
		{"open", testAggregatorOpen},
		{"scopes", testAggregatorScopes},
		{"remember", testAggregatorRemember},
		{"late", testAggregatorLate},
		{"many groups", testAggregatorManyGroups},
		{"oldest", testAggregatorOldest},
		{"many members", testAggregatorManyMembers},
		{"entries", testAggregatorEntries},
		{"fold", testAggregatorFold},
		{"one of many", testAggregatorOneOfMany},
		{"fold of many", testAggregatorFoldOfMany},
		{"crashes", testAggregatorCrashes},
		{"ghosts", testAggregatorGhosts},
	} {
		t.Run(x.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				x.test(t, &aggregatorStore{Store: s.open(t), t: t, lease: s.lease})
			})
		})
	}
}

// aggregatorStore is the store under test with what the tests say often.
type aggregatorStore struct {
	aggregator.Store

	t     *testing.T
	lease time.Duration
}

const aggregatorScope = "flow/step"

func aggregatorEntry(id string) channel.Entry { return channel.NewEntry(id, "", nil, []byte(id)) }

// request is the Add of a member to the key's group of three, with no deadline.
func (s *aggregatorStore) request(key, id string) aggregator.AddRequest {
	return aggregator.AddRequest{Scope: aggregatorScope, Key: key, Entry: aggregatorEntry(id), Size: 3, Lease: s.lease}
}

func (s *aggregatorStore) add(r aggregator.AddRequest, want aggregator.State) aggregator.Added {
	s.t.Helper()
	a, err := s.Add(s.t.Context(), r)
	if err != nil || a.State != want {
		s.t.Fatalf("Add(%s, %s): %v, %v; want %v", r.Key, r.Entry.ID(), a.State, err, want)
	}
	return a
}

// complete adds members a, b and c of the key and gives the claim.
func (s *aggregatorStore) complete(key string) aggregator.Group {
	s.t.Helper()
	s.add(s.request(key, key+"a"), aggregator.Opened)
	s.add(s.request(key, key+"b"), aggregator.Opened)
	return s.add(s.request(key, key+"c"), aggregator.Completed).Group
}

func (s *aggregatorStore) claim(key, member string, early bool) (aggregator.Group, error) {
	r := aggregator.ClaimRequest{Scope: aggregatorScope, Key: key, Lease: s.lease, Early: early}
	if member != "" {
		r.Member = channel.IDOf(member)
	}
	return s.Claim(s.t.Context(), r)
}

// claimed claims a group that must be free.
func (s *aggregatorStore) claimed(key, member string) aggregator.Group {
	s.t.Helper()
	g, err := s.claim(key, member, false)
	if err != nil {
		s.t.Fatalf("Claim(%s, %q): %v", key, member, err)
	}
	return g
}

// refused checks that a claim is refused.
func (s *aggregatorStore) refused(key, member string, want error) {
	s.t.Helper()
	if g, err := s.claim(key, member, false); !errors.Is(err, want) {
		s.t.Fatalf("Claim(%s, %q): %+v, %v; want %v", key, member, g, err, want)
	}
}

func (s *aggregatorStore) release(g aggregator.Group) {
	s.t.Helper()
	if err := s.Release(s.t.Context(), aggregator.ReleaseRequest{Group: g, Remember: time.Hour}); err != nil {
		s.t.Fatalf("Release(%s): %v", g.Key, err)
	}
}

func (s *aggregatorStore) give(g aggregator.Group) {
	s.t.Helper()
	if err := s.Return(s.t.Context(), g); err != nil {
		s.t.Fatalf("Return(%s): %v", g.Key, err)
	}
}

func (s *aggregatorStore) due(limit int, all bool) channel.Due {
	s.t.Helper()
	d, err := s.Due(s.t.Context(), channel.DueRequest{Scope: aggregatorScope, Now: time.Now(), Limit: limit, All: all})
	if err != nil {
		s.t.Fatalf("Due: %v", err)
	}
	return d
}

// lists checks which keys are due.
func (s *aggregatorStore) lists(all bool, want ...string) channel.Due {
	s.t.Helper()
	d := s.due(100, all)
	got := slices.Sorted(slices.Values(d.Keys))
	if !slices.Equal(got, want) {
		s.t.Fatalf("Due lists %q; want %q", got, want)
	}
	return d
}

// pass lets d go by.
func (s *aggregatorStore) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.t.Context().Done():
	}
}

// expire lets every lease run out.
func (s *aggregatorStore) expire() { s.pass(s.lease + s.lease/4) }

func entryIDs(es []channel.Entry) (ids []string) {
	for _, e := range es {
		ids = append(ids, e.ID())
	}
	return ids
}

func testAggregatorMembers(t *testing.T, s *aggregatorStore) {
	a := s.add(s.request("k", "a"), aggregator.Opened)
	if a.Size != 1 || a.Bytes <= 0 {
		t.Fatalf("first member: %+v; want size 1 and its bytes", a)
	}
	d := s.add(s.request("k", "a"), aggregator.Duplicate)
	if d.Size != 1 || d.Bytes != a.Bytes || d.Generation != a.Generation {
		t.Fatalf("the same member again: %+v; want what it was, %+v", d, a)
	}
	b := s.add(s.request("k", "b"), aggregator.Opened)
	if b.Size != 2 || b.Bytes <= a.Bytes || b.Generation != a.Generation {
		t.Fatalf("second member: %+v; want the group of %+v", b, a)
	}
	if o := s.add(s.request("other", "c"), aggregator.Opened); o.Size != 1 {
		t.Fatalf("member of another key: %+v; want a group of its own", o)
	}
	s.refused("k", "", aggregator.ErrNoGroup)
	s.refused("k", "a", aggregator.ErrNoGroup)
	s.refused("unknown", "", aggregator.ErrNoGroup)
	s.lists(false)
}

func testAggregatorCompletion(t *testing.T, s *aggregatorStore) {
	for _, x := range []struct {
		name string
		last func(r *aggregator.AddRequest)
		want string
	}{
		{"size", func(*aggregator.AddRequest) {}, aggregator.CompletedBySize},
		{"predicate", func(r *aggregator.AddRequest) { r.Complete = true }, aggregator.CompletedByPredicate},
		{"members", func(r *aggregator.AddRequest) { r.MaxMembers = 2 }, aggregator.CompletedByLimit},
		{"bytes", func(r *aggregator.AddRequest) { r.MaxBytes = 2 }, aggregator.CompletedByLimit},
	} {
		first, last := s.request(x.name, x.name+"1"), s.request(x.name, x.name+"2")
		first.Size = 0
		if x.name == "size" {
			first.Size = 2
		}
		x.last(&last)
		opened := s.add(first, aggregator.Opened)
		a := s.add(last, aggregator.Completed)
		g := a.Group
		if g.Reason != x.want || g.Size != 2 || g.Held != 1 || g.Key != x.name || g.Scope != aggregatorScope || g.Generation != opened.Generation {
			t.Fatalf("%s: group %+v; want both members, one held, by %q", x.name, g, x.want)
		}
		if got, want := entryIDs(g.Entries), []string{x.name + "1", x.name + "2"}; !slices.Equal(got, want) {
			t.Fatalf("%s: members %q; want %q", x.name, got, want)
		}
		s.release(g)
	}
	one := s.request("one", "one")
	one.Size = 1
	if g := s.add(one, aggregator.Completed).Group; g.Size != 1 || g.Held != 0 {
		t.Fatalf("group of one: %+v; want one member, none held", g)
	}
}

// Whatever of a key comes after its group was closed is in the next, whose generation is greater.
func testAggregatorGenerations(t *testing.T, s *aggregatorStore) {
	last := int64(0)
	var groups []aggregator.Group
	for i := range 5 {
		for j := range 2 {
			s.add(s.request("k", fmt.Sprint(i, j)), aggregator.Opened)
		}
		g := s.add(s.request("k", fmt.Sprint(i, 2)), aggregator.Completed).Group
		if g.Generation <= last {
			t.Fatalf("generation %d after %d", g.Generation, last)
		}
		last = g.Generation
		if i%2 == 0 {
			s.release(g)
		} else {
			groups = append(groups, g)
		}
	}
	s.add(s.request("k", "open"), aggregator.Opened)
	for i, g := range groups {
		s.add(s.request("k", fmt.Sprint(2*i+1, 1)), aggregator.Closed)
		s.release(g)
	}
	if d := s.add(s.request("k", "open"), aggregator.Duplicate); d.Size != 1 || d.Generation <= last {
		t.Fatalf("the open group is %+v; want one member and a generation after %d", d, last)
	}
}

func testAggregatorClaim(t *testing.T, s *aggregatorStore) {
	long := s.request("k", "a")
	long.Size, long.Lease = 1, time.Hour
	g := s.add(long, aggregator.Completed).Group
	s.add(long, aggregator.Closed)
	s.refused("k", "a", aggregator.ErrBusy)
	s.refused("k", "", aggregator.ErrBusy)
	if _, later := channel.IsLater(aggregator.ErrBusy); !later {
		t.Fatal("ErrBusy is not Later: it would be counted as an attempt")
	}
	s.lists(false)
	s.release(g)
	s.add(long, aggregator.Released)
	s.refused("k", "a", aggregator.ErrReleased)
	s.refused("k", "", aggregator.ErrNoGroup)
	if err := s.Release(t.Context(), aggregator.ReleaseRequest{Group: g, Remember: time.Hour}); !errors.Is(err, aggregator.ErrLost) {
		t.Fatalf("second Release: %v; want ErrLost", err)
	}
	s.give(g) // does nothing
	s.lists(true)

	// A member's claim is for its own group, whatever else waits under the key.
	s.give(s.complete("two"))
	s.add(s.request("two", "x"), aggregator.Opened)
	s.refused("two", "x", aggregator.ErrNoGroup)
	if g, err := s.claim("two", "x", true); !errors.Is(err, aggregator.ErrNoGroup) {
		t.Fatalf("claim of an open group by its member: %+v, %v; want ErrNoGroup", g, err)
	}
	if g := s.claimed("two", "twoa"); g.Size != 3 {
		t.Fatalf("claim by a member: %+v; want its group of 3", g)
	}
}

func testAggregatorTakeover(t *testing.T, s *aggregatorStore) {
	old := s.complete("k")
	s.expire()
	s.lists(false, "k")
	s.add(s.request("k", "kb"), aggregator.Closed)
	g := s.claimed("k", "kb")
	if g.Generation != old.Generation || g.Reason != old.Reason || g.Held != old.Held || !slices.Equal(entryIDs(g.Entries), []string{"ka", "kb", "kc"}) {
		t.Fatalf("taken over: %+v; want the same group as %+v", g, old)
	}
	if g.Token == old.Token {
		t.Fatal("taken over: both claims have one token")
	}
	err := s.Release(t.Context(), aggregator.ReleaseRequest{Group: old, Remember: time.Hour})
	if _, later := channel.IsLater(err); !errors.Is(err, aggregator.ErrLost) || !later {
		t.Fatalf("late Release by the old owner: %v; want ErrLost, Later", err)
	}
	s.give(old) // does nothing
	s.refusedWhileHeld("k", g)
	s.release(g)
	if err := s.Release(t.Context(), aggregator.ReleaseRequest{Group: old, Remember: time.Hour}); !errors.Is(err, aggregator.ErrLost) {
		t.Fatalf("Release by the old owner after the new one's: %v; want ErrLost", err)
	}

	// The lease is over and nobody has come: the owner may still release.
	late := s.complete("late")
	s.expire()
	s.release(late)
	s.add(s.request("late", "latea"), aggregator.Released)
}

// refusedWhileHeld checks that g is still its owner's: with a real clock its lease may have ended.
func (s *aggregatorStore) refusedWhileHeld(key string, g aggregator.Group) {
	s.t.Helper()
	begun := time.Now()
	_, err := s.claim(key, "", false)
	if !errors.Is(err, aggregator.ErrBusy) && time.Since(begun) < s.lease/2 {
		s.t.Fatalf("claim of %s, which token %d holds: %v; want ErrBusy", key, g.Token, err)
	}
}

func testAggregatorReturn(t *testing.T, s *aggregatorStore) {
	first := s.complete("k")
	s.give(first)
	s.lists(false, "k")
	s.add(s.request("k", "d"), aggregator.Opened) // the group stays closed
	s.add(s.request("k", "kc"), aggregator.Closed)
	g := s.claimed("k", "")
	if g.Generation != first.Generation || g.Token == first.Token || g.Size != 3 {
		t.Fatalf("returned and claimed: %+v; want the same group, another token than %+v", g, first)
	}
	s.give(first) // not its owner's any more
	s.refusedWhileHeld("k", g)
	s.give(g)
	s.give(g)
	s.release(s.claimed("k", "ka"))
	s.refused("k", "", aggregator.ErrNoGroup)
}
