package aggregator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
)

// number is the n-th of many ids.
func number(n int) (id channel.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func TestIDSet(t *testing.T) {
	const seed = 1
	rnd := rand.New(rand.NewPCG(seed, 0))
	var s idSet
	model := map[channel.ID]bool{}
	for i := range 100_000 {
		id := number(rnd.IntN(30_000)) // 0 among them
		switch {
		case rnd.IntN(50_000) == 0:
			s.clear()
			clear(model)
		case rnd.IntN(2) == 0:
			s.add(id)
			model[id] = true
		}
		if s.has(id) != model[id] || s.n != len(model) {
			t.Fatalf("seed %d: step %d: has %v, %d ids; want %v, %d", seed, i, s.has(id), s.n, model[id], len(model))
		}
	}
}

func TestDeadlines(t *testing.T) {
	const seed = 2
	rnd := rand.New(rand.NewPCG(seed, 0))
	var h deadlines
	groups := make([]*group, 100)
	for i := range groups {
		groups[i] = &group{index: -1}
	}
	for i := range 50_000 {
		g := groups[rnd.IntN(len(groups))]
		switch {
		case rnd.IntN(3) == 0:
			h.remove(g)
		case g.index >= 0 && rnd.IntN(2) == 0:
			g.due += rnd.Int64N(100) // later: nobody is told
		default:
			g.due = 1 + rnd.Int64N(1000)
			h.set(g)
		}
		var first int64
		for _, g := range groups {
			if g.index >= 0 && (first == 0 || g.due < first) {
				first = g.due
			}
		}
		if top := h.top(); top == nil && first != 0 || top != nil && top.due != first {
			t.Fatalf("seed %d: step %d: top %+v; want one due at %d", seed, i, top, first)
		}
	}
}

// Ids are remembered for as long as was asked, in memory that is bounded.
func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{MaxRemembered: 10_000}
		a := packer(m)
		a.Size, a.Remember = 1, time.Hour
		for i := range 100_000 {
			r, err := process(a, "f/s", number(i).String(), line{Order: "a"})
			if err != nil {
				t.Fatal(err)
			}
			settle(t, r, nil)
		}
		s := m.Stats("f/s")
		if s.Remembered > m.MaxRemembered || s.Remembered < m.MaxRemembered/2 || s.Forgotten+s.Remembered != 100_000 {
			t.Fatalf("after all ids: %+v; want %d at most, half at least, the others counted", s, m.MaxRemembered)
		}
		x := m.scope("f/s")
		if slots := len(x.released.young.slots) + len(x.released.old.slots); slots > 8*m.MaxRemembered {
			t.Errorf("%d slots for %d ids", slots, m.MaxRemembered)
		}
		if len(x.groups) != 0 || len(x.heap) != 0 || x.total != 0 || len(x.free) != 1 {
			t.Errorf("%d groups, %d deadlines, %d in all, %d free", len(x.groups), len(x.heap), x.total, len(x.free))
		}

		// By time: an hour at least, and not for ever.
		known := func(i int) bool {
			return say(process(a, "f/t", number(i).String(), line{Order: "a"})) == "dropped already released"
		}
		for i := range 10 {
			time.Sleep(20 * time.Minute)
			r, _ := process(a, "f/t", number(i).String(), line{Order: "a"})
			settle(t, r, nil)
			for j := max(0, i-3); j <= i; j++ {
				if !known(j) {
					t.Fatalf("id %d is forgotten %d minutes after its release", j, 20*(i-j))
				}
			}
		}
		if known(0) {
			t.Error("id 0 is known after three hours; want it forgotten after two")
		}
		if f := m.Stats("f/t").Forgotten; f != 0 {
			t.Errorf("%d ids are counted as forgotten before their time; want none", f)
		}
	})
}

// A group whose claim was taken over is never used again: its first owner may still be reading it.
func TestEntriesOutliveATakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &Memory{}
		add := func(key, id string) Added {
			a, err := m.Add(t.Context(), AddRequest{Scope: "f/s", Key: key, Entry: channel.NewEntry(id, "", nil, []byte(id)), Size: 2, Lease: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		add("a", "1")
		slow := add("a", "2").Group
		time.Sleep(time.Second)
		g, err := m.Claim(t.Context(), ClaimRequest{Scope: "f/s", Key: "a", Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Release(t.Context(), ReleaseRequest{Group: g, Remember: time.Hour}); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			add("b", fmt.Sprint("b", i))
		}
		if slow.Entries[0].ID() != "1" || slow.Entries[1].ID() != "2" {
			t.Fatalf("the slow owner reads %q and %q", slow.Entries[0].ID(), slow.Entries[1].ID())
		}
	})
}

// A body that was handed over in the process comes out as it is: it is never encoded.
func TestBodiesAreKept(t *testing.T) {
	type mute struct{ F func() } // no codec writes it
	a := &Aggregator[*mute, *mute]{
		Correlate: func(*mute) string { return "k" },
		Combine:   func(_ string, ms []*mute) (*mute, error) { return ms[0], nil },
		To:        "out", Store: &Memory{}, Size: 2,
	}
	first := &mute{}
	if _, err := a.Process(channel.NewMessage("1", first)); err != nil {
		t.Fatal(err)
	}
	r, err := a.Process(channel.NewMessage("2", &mute{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.At(0).Body(); got != first {
		t.Fatalf("body %v; want the first member itself", got)
	}
}

// What a new process sends has other ids than what the one before it sent.
func TestGenerationsOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		generation := func() int64 {
			a, err := (&Memory{}).Add(t.Context(), AddRequest{Scope: "f/s", Key: "k", Entry: channel.NewEntry("1", "", nil, nil)})
			if err != nil {
				t.Fatal(err)
			}
			return a.Generation
		}
		before := generation()
		time.Sleep(time.Second) // the process starts anew
		if after := generation(); after <= before+1000 {
			t.Fatalf("generation %d of a new process, %d before: what it sends would be taken for old", after, before)
		}
	})
}

// F33: with ReleaseOldest and a clock that keeps up, keys without end cost a bounded number of groups
// and no member is lost.
func TestEndlessKeys(t *testing.T) {
	m := &Memory{}
	a := packer(m)
	a.MaxOpen, a.ReleaseOldest = 100, true
	clock := a.Shape().Inlets[0].Clock
	held, out, most := 0, 0, 0
	tick := func(all bool) {
		d, err := clock.Due(t.Context(), channel.DueRequest{Scope: "f/s", Limit: 10_000, All: all, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range d.Keys {
			r, err := clock.Fire(t.Context(), "f/s", key)
			if err != nil {
				t.Fatal(err)
			}
			settle(t, r, nil)
			out += r.Released()
		}
	}
	for i := range 20_000 {
		r, err := process(a, "f/s", strconv.Itoa(i), line{Order: strconv.Itoa(i)})
		for errors.Is(err, ErrTooManyGroups) {
			tick(false)
			r, err = process(a, "f/s", strconv.Itoa(i), line{Order: strconv.Itoa(i)})
		}
		if got := say(r, err); got != "held" {
			t.Fatalf("key %d: %s, %v", i, got, err)
		}
		held++
		most = max(most, m.Stats("f/s").Groups)
	}
	tick(false)
	s := m.Stats("f/s")
	if most > 200 || s.Open != 100 || held != out+s.Open {
		t.Fatalf("%d groups at most, %d held, %d came out, %+v; want 200 groups at most, and none lost", most, held, out, s)
	}
}
