package idempotency_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

func TestMemoryConforms(t *testing.T) {
	for _, x := range []struct {
		name string
		open func(t *testing.T) idempotency.Store
	}{
		{"zero value", func(*testing.T) idempotency.Store { return &idempotency.Memory{} }},
		{"one shard, room made", func(*testing.T) idempotency.Store { return &idempotency.Memory{Max: 4000, Expect: 4000} }},
		{"behind another store", func(*testing.T) idempotency.Store { return &remote{Store: &idempotency.Memory{}} }},
		{"claims made anew", func(*testing.T) idempotency.Store { return forgetful{&idempotency.Memory{}} }},
	} {
		t.Run(x.name, func(t *testing.T) { leattest.IdempotencyStore(t, x.open) })
	}
}

// forgetful keeps of a claim what a store on a server would.
type forgetful struct{ idempotency.Store }

func (s forgetful) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	c, err := s.Store.Begin(ctx, r)
	return idempotency.Claim{Scope: c.Scope, Key: c.Key, Token: c.Token, Done: c.Done, Again: c.Again, Result: c.Result}, err
}

// mark begins and commits a key; it reports whether the key had been done. It is called too often for
// t.Helper.
func mark(t *testing.T, m idempotency.Store, key, result string) bool {
	c, err := m.Begin(context.Background(), idempotency.BeginRequest{Scope: "s", Key: key, Lease: idempotency.Endless})
	if err != nil {
		t.Fatal(err)
	}
	if c.Done {
		return true
	}
	if err := m.Commit(context.Background(), idempotency.CommitRequest{Claim: c, Result: result, Remember: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	return false
}

func uuid(i int) string {
	var id channel.ID
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id.String()
}

// Ten million ids through a memory of 100,000: it holds no more, its heap stays flat, it says what it
// forgot, and a claim in progress outlives it all.
func TestMemoryIsBounded(t *testing.T) {
	const ids, most = 10_000_000 / slowdown, 100_000
	m := &idempotency.Memory{Max: most}
	running, err := m.Begin(t.Context(), idempotency.BeginRequest{Scope: "s", Key: "running", Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	heap := func() int {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	full := 0
	for i := range ids {
		if mark(t, m, uuid(i), "") {
			t.Fatalf("id %d was done before it came", i)
		}
		if i == 3*most {
			full = heap()
		}
	}
	if grown := heap() - full; grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	st := m.Stats()
	if st.Done > most || st.Done < most/2-most/20 {
		t.Errorf("%d keys are remembered; want half to all of %d", st.Done, most)
	}
	if st.Forgotten != uint64(ids-st.Done) {
		t.Errorf("%d forgotten and %d done of %d: %d are not accounted for", st.Forgotten, st.Done, ids, ids-st.Done-int(st.Forgotten))
	}
	for i := ids - most/2 + most/20; i < ids; i++ {
		if !mark(t, m, uuid(i), "") {
			t.Fatalf("id %d, the last but %d, is forgotten", i, ids-1-i)
		}
	}
	if _, err := m.Begin(t.Context(), idempotency.BeginRequest{Scope: "s", Key: "running", Lease: time.Hour}); !errors.Is(err, idempotency.ErrRunning) {
		t.Errorf("error %v; want ErrRunning: a claim was forgotten", err)
	}
	if err := m.Commit(t.Context(), idempotency.CommitRequest{Claim: running, Remember: time.Hour}); err != nil {
		t.Error(err)
	}
	if st := m.Stats(); st.Running != 0 {
		t.Errorf("%d claims are open", st.Running)
	}
}

func TestMemoryBoundsResults(t *testing.T) {
	const most = 1 << 20
	m := &idempotency.Memory{Max: 1000, MaxBytes: most}
	result := strings.Repeat("r", 10<<10)
	for i := range 1000 {
		mark(t, m, uuid(i), result)
		if st := m.Stats(); st.Bytes > most {
			t.Fatalf("%d bytes of results after %d keys; want at most %d", st.Bytes, i+1, most)
		}
	}
	if st := m.Stats(); st.Forgotten == 0 || st.Bytes < most/2 {
		t.Fatalf("stats %+v: nothing was forgotten, or too much", st)
	}
	if !mark(t, m, uuid(999), "") {
		t.Fatal("the last key is forgotten")
	}
}

// What is out of date leaves by itself, and is not counted as forgotten.
func TestMemorySweepsWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &idempotency.Memory{Max: 1000}
		for day := range 30 {
			for i := range 10 {
				mark(t, m, strconv.Itoa(day*10+i), "")
			}
			time.Sleep(24 * time.Hour)
		}
		if st := m.Stats(); st.Done > 20 || st.Forgotten != 0 {
			t.Fatalf("stats %+v after 30 days of ten keys; want at most those of two days, and none forgotten early", st)
		}
	})
}

// A model that a reader can check: a map, and a clock.
type model struct {
	keys  map[string]*entry
	token map[string]uint64
}

type entry struct {
	digest idempotency.Digest
	owner  int // which claim, 0: done
	until  time.Time
	result string
}

// Whatever is done with a memory, it answers as the model does.
func TestMemoryIsTheModel(t *testing.T) {
	seeds(t, 300, func(t *testing.T, rnd *rand.Rand) {
		synctest.Test(t, func(t *testing.T) { checkModel(t, rnd) })
	})
}

func checkModel(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	type held struct {
		claim idempotency.Claim
		n     int
	}
	ctx, m := t.Context(), &idempotency.Memory{Max: 10_000, Expect: rnd.IntN(20)}
	want := model{map[string]*entry{}, map[string]uint64{}}
	var claims []held
	digests := []idempotency.Digest{{}, {}, idempotency.Sum([]byte("a")), idempotency.Sum([]byte("a")), idempotency.Sum([]byte("b"))}
	owns := func(h held) *entry {
		if x := want.keys[h.claim.Key]; x != nil && x.owner == h.n {
			return x
		}
		return nil
	}
	check := func(i int, call string, err error, ok bool) {
		t.Helper()
		if ok != (err == nil) || err != nil && !errors.Is(err, idempotency.ErrLost) {
			t.Fatalf("step %d: %s: error %v; the model says owner: %v", i, call, err, ok)
		}
	}
	for i := range 300 {
		key := strconv.Itoa(rnd.IntN(6))
		switch op := rnd.IntN(10); {
		case op < 4:
			d, lease := digests[rnd.IntN(len(digests))], time.Duration(1+rnd.IntN(100))*time.Second
			c, err := m.Begin(ctx, idempotency.BeginRequest{Scope: "s", Key: key, Digest: d, Lease: lease})
			x := want.keys[key]
			if x != nil && x.owner == 0 && !time.Now().Before(x.until) {
				x = nil // forgotten
			}
			zero := idempotency.Digest{}
			switch {
			case x != nil && x.digest != d && x.digest != zero && d != zero:
				if !errors.Is(err, idempotency.ErrConflict) {
					t.Fatalf("step %d: Begin(%s): error %v; want ErrConflict", i, key, err)
				}
			case x != nil && x.owner == 0:
				if err != nil || !c.Done || c.Result != x.result {
					t.Fatalf("step %d: Begin(%s): %+v, error %v; want done with %q", i, key, c, err, x.result)
				}
			case x != nil && time.Now().Before(x.until):
				if !errors.Is(err, idempotency.ErrRunning) {
					t.Fatalf("step %d: Begin(%s): error %v; want ErrRunning", i, key, err)
				}
			default:
				if err != nil || c.Done || c.Again != (x != nil) || c.Token <= want.token[key] {
					t.Fatalf("step %d: Begin(%s): %+v, error %v; want a claim, again %v, token above %d", i, key, c, err, x != nil, want.token[key])
				}
				want.token[key] = c.Token
				if x != nil && d == zero {
					d = x.digest
				}
				claims = append(claims, held{c, len(claims) + 1})
				want.keys[key] = &entry{digest: d, owner: len(claims), until: time.Now().Add(lease)}
			}
		case op < 5:
			time.Sleep(time.Duration(rnd.IntN(60)) * time.Second)
		case len(claims) == 0:
		case op < 6:
			h := claims[rnd.IntN(len(claims))]
			x := owns(h)
			check(i, "Renew", m.Renew(ctx, h.claim, 30*time.Second), x != nil)
			if x != nil {
				x.until = time.Now().Add(30 * time.Second)
			}
		case op < 8:
			h := claims[rnd.IntN(len(claims))]
			x := owns(h)
			check(i, "Abort", m.Abort(ctx, h.claim), x != nil)
			if x != nil {
				delete(want.keys, h.claim.Key)
			}
		default:
			h := claims[rnd.IntN(len(claims))]
			x, result, remember := owns(h), strconv.Itoa(i), time.Duration(1+rnd.IntN(300))*time.Second
			check(i, "Commit", m.Commit(ctx, idempotency.CommitRequest{Claim: h.claim, Result: result, Remember: remember}), x != nil)
			if x != nil {
				x.owner, x.result, x.until = 0, result, time.Now().Add(remember)
			}
		}
	}
	running := 0
	for _, x := range want.keys {
		if x.owner != 0 {
			running++
		}
	}
	if st := m.Stats(); st.Running != running || st.Forgotten != 0 {
		t.Fatalf("stats %+v; want %d running and none forgotten", st, running)
	}
}
