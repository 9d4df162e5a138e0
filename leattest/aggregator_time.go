package leattest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
)

func testAggregatorTimeout(t *testing.T, s *aggregatorStore) {
	begun := time.Now()
	r := s.request("k", "a")
	r.Timeout = 2 * s.lease
	s.add(r, aggregator.Opened)
	if d := s.lists(false); d.Next.Before(begun.Add(r.Timeout-s.lease/2)) || d.Next.After(time.Now().Add(r.Timeout+s.lease/2)) {
		t.Fatalf("next is due in %v; want %v", d.Next.Sub(begun), r.Timeout)
	}
	s.pass(s.lease)
	r.Entry, r.Timeout = aggregatorEntry("b"), time.Hour // counts for a group that it opens
	s.add(r, aggregator.Opened)
	s.expire()
	s.lists(false, "k")
	g := s.claimed("k", "")
	if g.Reason != aggregator.CompletedByTimeout || g.Size != 2 || g.Held != 2 {
		t.Fatalf("group %+v; want both members, both held, by timeout", g)
	}
	// A closed group is the same at every claim, however it is claimed.
	s.give(g)
	if again := s.claimed("k", "b"); again.Reason != aggregator.CompletedByTimeout || again.Held != 2 || again.Generation != g.Generation {
		t.Fatalf("claimed again: %+v; want what it was, %+v", again, g)
	}

	e := s.request("early", "c")
	e.Timeout = time.Hour
	s.add(e, aggregator.Opened)
	s.refused("early", "", aggregator.ErrNoGroup)
	early, err := s.claim("early", "", true)
	if err != nil || early.Reason != aggregator.CompletedByEnd || early.Held != 1 {
		t.Fatalf("claim before its time: %+v, %v; want one member by end", early, err)
	}
}

func testAggregatorIdle(t *testing.T, s *aggregatorStore) {
	r := s.request("k", "0")
	r.Size, r.Idle, r.Timeout = 0, 2*s.lease, 5*s.lease
	s.add(r, aggregator.Opened)
	for i := range 3 { // 3 leases and more: without the extension it were due
		s.pass(s.lease)
		s.lists(false)
		r.Entry = aggregatorEntry(strconv.Itoa(i + 1))
		s.add(r, aggregator.Opened)
	}
	next := s.lists(false).Next
	s.pass(time.Until(next) + s.lease/4)
	s.lists(false, "k") // 5 leases from the first member, or 2 from the last
	if g := s.claimed("k", ""); g.Reason != aggregator.CompletedByTimeout || g.Size != 4 {
		t.Fatalf("group %+v; want 4 members by timeout", g)
	}
}

func testAggregatorDue(t *testing.T, s *aggregatorStore) {
	var keys []string
	for i := range 5 {
		key := fmt.Sprint("soon", i)
		keys = append(keys, key)
		r := s.request(key, key)
		r.Timeout = s.lease / 8
		s.add(r, aggregator.Opened)
	}
	late := s.request("late", "late")
	late.Timeout = time.Hour
	s.add(late, aggregator.Opened)
	never := s.request("never", "never")
	s.add(never, aggregator.Opened)
	s.pass(s.lease / 4)

	s.lists(false, keys...)
	if d := s.lists(true, append([]string{"late", "never"}, keys...)...); d.Next.IsZero() {
		t.Fatal("next is unknown; want that of the late group")
	}
	// With a limit the rest is due at once.
	d := s.due(2, false)
	if len(d.Keys) != 2 || d.Next.IsZero() || d.Next.After(time.Now()) {
		t.Fatalf("two at most: %q, next in %v; want 2 keys, and next not in the future", d.Keys, time.Until(d.Next))
	}
	for _, key := range keys {
		s.release(s.claimed(key, ""))
	}
	if d := s.lists(false); time.Until(d.Next) < time.Minute {
		t.Fatalf("next is due in %v; want an hour", time.Until(d.Next))
	}
	// The lease of a claim is a deadline too.
	s.complete("dying")
	if d := s.lists(false); d.Next.IsZero() || time.Until(d.Next) > s.lease {
		t.Fatalf("next is due in %v; want the end of the lease of %v", time.Until(d.Next), s.lease)
	}
	s.expire()
	s.lists(false, "dying")
	// A key with two groups is listed once, and again for the second.
	for i := range 3 {
		s.add(s.request("dying", fmt.Sprint("second", i)), [...]aggregator.State{aggregator.Opened, aggregator.Opened, aggregator.Completed}[i])
	}
	s.expire()
	s.lists(false, "dying")
	s.release(s.claimed("dying", ""))
	s.lists(false, "dying")
	s.release(s.claimed("dying", ""))
	s.lists(false)
}

func testAggregatorOpen(t *testing.T, s *aggregatorStore) {
	open := func(scope string, want int64) {
		t.Helper()
		if n, err := s.Open(t.Context(), scope); err != nil || n != want {
			t.Fatalf("Open(%s): %d, %v; want %d", scope, n, err, want)
		}
	}
	open(aggregatorScope, 0)
	for i := range 5 {
		s.add(s.request(fmt.Sprint("k", i), fmt.Sprint("m", i)), aggregator.Opened)
		s.add(s.request(fmt.Sprint("k", i), fmt.Sprint("n", i)), aggregator.Opened)
	}
	open(aggregatorScope, 5)
	open("flow/other", 0)
	g := s.add(s.request("k0", "o"), aggregator.Completed).Group
	open(aggregatorScope, 5) // it is complete, but it is still there
	s.give(g)
	open(aggregatorScope, 5)
	s.release(s.claimed("k0", ""))
	open(aggregatorScope, 4)
}

func testAggregatorChanged(t *testing.T, s *aggregatorStore) {
	closed := func(c <-chan struct{}) bool { // soon
		timer := time.NewTimer(s.lease / 2)
		defer timer.Stop()
		select {
		case <-c:
			return true
		case <-timer.C:
			return false
		}
	}
	d := s.lists(false)
	if d.Changed == nil {
		return // the store cannot tell: clocks ask it now and then
	}
	hour := s.request("hour", "hour")
	hour.Timeout = time.Hour
	s.add(hour, aggregator.Opened)
	if !closed(d.Changed) {
		t.Fatal("nothing was due, then something: Changed is open")
	}
	d = s.lists(false)
	day := s.request("day", "day")
	day.Timeout = 24 * time.Hour
	s.add(day, aggregator.Opened)
	if closed(d.Changed) {
		t.Fatal("what was added is due after Next: Changed is closed")
	}
	minute := s.request("minute", "minute")
	minute.Timeout = time.Minute
	s.add(minute, aggregator.Opened)
	if !closed(d.Changed) {
		t.Fatal("what was added is due before Next: Changed is open")
	}
	g := s.complete("k")
	d = s.lists(false)
	s.give(g)
	if !closed(d.Changed) {
		t.Fatal("a group was returned: Changed is open")
	}
	s.lists(false, "k")
}

// F34: two steps that share a store never share a group, an id or a due key.
func testAggregatorScopes(t *testing.T, s *aggregatorStore) {
	other := func(id string) aggregator.AddRequest {
		r := s.request("k", id)
		r.Scope = "flow/other"
		return r
	}
	s.add(s.request("k", "a"), aggregator.Opened)
	if a := s.add(other("a"), aggregator.Opened); a.Size != 1 {
		t.Fatalf("the same member in another scope: %+v; want a group of its own", a)
	}
	s.add(s.request("k", "b"), aggregator.Opened)
	g := s.add(s.request("k", "c"), aggregator.Completed).Group
	s.add(other("b"), aggregator.Opened)
	s.release(g)
	s.add(s.request("k", "a"), aggregator.Released)
	if a := s.add(other("a"), aggregator.Duplicate); a.Size != 2 {
		t.Fatalf("group of the other scope: %+v; want its two members", a)
	}
	d, err := s.Due(t.Context(), channel.DueRequest{Scope: "flow/other", Now: time.Now(), Limit: 10, All: true})
	if err != nil || !slices.Equal(d.Keys, []string{"k"}) {
		t.Fatalf("all of the other scope: %q, %v; want k", d.Keys, err)
	}
	s.lists(true)
	// Nor do names that look alike once they are joined.
	for _, x := range [][2]string{{"a", "b/c"}, {"a/b", "c"}, {"a/b/c", ""}, {"a", "b:c"}, {"a:b", "c"}, {"a|b", "c"}, {"a", "b|c"}} {
		r := s.request(x[1], "m")
		r.Scope = x[0]
		if a := s.add(r, aggregator.Opened); a.Size != 1 {
			t.Fatalf("scope %q, key %q: %+v; want a group of its own", x[0], x[1], a)
		}
	}
}

func testAggregatorRemember(t *testing.T, s *aggregatorStore) {
	s.release(s.complete("k"))
	// The next group of the key is open, and the old members are not its.
	s.add(s.request("k", "d"), aggregator.Opened)
	for _, id := range []string{"ka", "kb", "kc"} {
		s.add(s.request("k", id), aggregator.Released)
		s.refused("k", id, aggregator.ErrReleased)
	}
	if a := s.add(s.request("k", "d"), aggregator.Duplicate); a.Size != 1 {
		t.Fatalf("open group %+v; want its one member", a)
	}
	// Not at all is not at all.
	g := s.complete("forget")
	if err := s.Release(t.Context(), aggregator.ReleaseRequest{Group: g}); err != nil {
		t.Fatal(err)
	}
	s.refused("forget", "forgeta", aggregator.ErrNoGroup)
	if a := s.add(s.request("forget", "forgeta"), aggregator.Opened); a.Generation <= g.Generation {
		t.Fatalf("generation %d after %d", a.Generation, g.Generation)
	}
}

func testAggregatorLate(t *testing.T, s *aggregatorStore) {
	once := func(id string) aggregator.AddRequest {
		r := s.request("k", id)
		r.Once, r.Size = true, 2
		return r
	}
	s.add(once("a"), aggregator.Opened)
	g := s.add(once("b"), aggregator.Completed).Group
	s.add(once("c"), aggregator.Late) // closed already
	if err := s.Release(t.Context(), aggregator.ReleaseRequest{Group: g, Remember: time.Hour, Once: true}); err != nil {
		t.Fatal(err)
	}
	s.add(once("d"), aggregator.Late)
	s.add(once("d"), aggregator.Late)
	s.add(once("a"), aggregator.Released)
	s.lists(true)
	other := once("e")
	other.Key = "other"
	s.add(other, aggregator.Opened)
}

// F33: keys without end.
func testAggregatorManyGroups(t *testing.T, s *aggregatorStore) {
	add := func(i int) (aggregator.Added, error) {
		key := fmt.Sprint("k", i)
		r := s.request(key, key)
		r.MaxOpen = 10
		return s.Add(t.Context(), r)
	}
	for i := range 10 {
		if a, err := add(i); err != nil || a.State != aggregator.Opened {
			t.Fatalf("group %d: %v, %v", i, a.State, err)
		}
	}
	for i := range 20 {
		_, err := add(10 + i)
		if _, later := channel.IsLater(err); !errors.Is(err, aggregator.ErrTooManyGroups) || !later {
			t.Fatalf("group 11 of 10: %v; want ErrTooManyGroups, Later", err)
		}
	}
	join := s.request("k3", "second")
	join.MaxOpen = 10
	s.add(join, aggregator.Opened)
	if d := s.due(100, true); len(d.Keys) != 10 {
		t.Fatalf("%d groups are open; want 10", len(d.Keys))
	}
	join.Entry = aggregatorEntry("third")
	s.release(s.add(join, aggregator.Completed).Group)
	if a, err := add(11); err != nil || a.State != aggregator.Opened {
		t.Fatalf("there is room for one: %v, %v", a.State, err)
	}
}

func testAggregatorOldest(t *testing.T, s *aggregatorStore) {
	add := func(i int) (aggregator.Added, error) {
		key := fmt.Sprintf("k%02d", i)
		r := s.request(key, key)
		r.MaxOpen, r.ReleaseOldest = 10, true
		return s.Add(t.Context(), r)
	}
	refused := 0
	for i := range 30 {
		switch a, err := add(i); {
		case errors.Is(err, aggregator.ErrTooManyGroups):
			refused++
		case err != nil || a.State != aggregator.Opened:
			t.Fatalf("group %d: %v, %v", i, a.State, err)
		}
	}
	if refused == 0 || refused > 15 {
		t.Fatalf("%d of 30 groups were refused with nobody to release any; want some, so that their number is bounded", refused)
	}
	due := s.due(100, false)
	slices.Sort(due.Keys)
	for i, key := range due.Keys {
		if want := fmt.Sprintf("k%02d", i); key != want {
			t.Fatalf("due are %q; want the oldest", due.Keys)
		}
		g := s.claimed(key, "")
		if g.Reason != aggregator.CompletedByLimit || g.Held != 1 {
			t.Fatalf("group %+v; want one held member, by limit", g)
		}
		s.release(g)
	}
	if n := len(s.due(100, true).Keys); n != 10 || len(due.Keys)+refused != 20 {
		t.Fatalf("%d groups are open, %d were released, %d refused; want 10 of 30 open", n, len(due.Keys), refused)
	}
}

func testAggregatorManyMembers(t *testing.T, s *aggregatorStore) {
	const members = 200
	for i := range members {
		r := s.request("k", fmt.Sprint("m", i))
		r.Size, r.MaxMembers = 0, members
		want := aggregator.Opened
		if i == members-1 {
			want = aggregator.Completed
		}
		a := s.add(r, want)
		if a.Size != i+1 {
			t.Fatalf("member %d: size %d", i, a.Size)
		}
		if want == aggregator.Completed {
			if got := entryIDs(a.Group.Entries); len(got) != members || got[0] != "m0" || got[members-1] != fmt.Sprint("m", members-1) {
				t.Fatalf("members %q; want %d in their order", got, members)
			}
			s.release(a.Group)
			continue
		}
		r.Entry = aggregatorEntry(fmt.Sprint("m", i/2))
		s.add(r, aggregator.Duplicate)
	}
	for i := range members {
		s.add(s.request("k", fmt.Sprint("m", i)), aggregator.Released)
	}
}

// What is in a message comes out again: id, key, headers, hops, bytes, and that there are none.
func testAggregatorEntries(t *testing.T, s *aggregatorStore) {
	in := []channel.Entry{
		channel.NewEntry("plain text id", "key", channel.Fields{
			{Name: "traceparent", Value: "00-1-2-01"},
			{Name: channel.HeaderHops, Value: "7"},
			{Name: "empty", Value: ""},
			{Name: "odd", Value: "ä \x00\r\n=;"},
		}, []byte("bytes \x00\xff")),
		channel.NewEntry("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "", nil, []byte{}),
		channel.NewEntry("tombstone", "deleted", nil, nil),
	}
	var g aggregator.Group
	for i, e := range in {
		r := s.request("k\x00:/{}|", "")
		r.Entry = e
		a, err := s.Add(t.Context(), r)
		if err != nil {
			t.Fatalf("Add(%d): %v", i, err)
		}
		g = a.Group
	}
	if g.Key != "k\x00:/{}|" {
		t.Fatalf("group key %q", g.Key)
	}
	if len(g.Entries) != len(in) {
		t.Fatalf("%d entries; want %d", len(g.Entries), len(in))
	}
	for i, got := range g.Entries {
		want := in[i]
		if got.ID() != want.ID() || got.UID() != want.UID() || got.Key() != want.Key() || got.Hops() != want.Hops() || got.Deleted() != want.Deleted() {
			t.Errorf("entry %d: id %q, key %q, hops %d, deleted %v; want %q, %q, %d, %v", i,
				got.ID(), got.Key(), got.Hops(), got.Deleted(), want.ID(), want.Key(), want.Hops(), want.Deleted())
		}
		gp, gerr := got.Payload()
		wp, werr := want.Payload()
		if gerr != nil || werr != nil || string(gp) != string(wp) || (gp == nil) != (wp == nil) {
			t.Errorf("entry %d: payload %q, %v; want %q, %v", i, gp, gerr, wp, werr)
		}
		if gh, wh := entryHeaders(got), entryHeaders(want); gh != wh {
			t.Errorf("entry %d: headers %s; want %s", i, gh, wh)
		}
	}
}

// entryHeaders gives an entry's headers in one order. Whether an empty one is there makes no difference.
func entryHeaders(e channel.Entry) string {
	var hs []string
	for _, h := range e.Headers() {
		if h.Value != "" {
			hs = append(hs, fmt.Sprintf("%s=%q", h.Name, h.Value))
		}
	}
	slices.Sort(hs)
	return strings.Join(hs, " ")
}
