package leattest

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// IdempotencyStore is the conformance suite of idempotency.Store, in virtual time: open, called inside
// of the bubble of each subtest, gives a store that lives in the process, or whose server does.
func IdempotencyStore(t *testing.T, open func(t *testing.T) idempotency.Store) {
	t.Helper()
	s := idempotencySuite{open: open, lease: 10 * time.Second, remember: 24 * time.Hour}
	s.run(t, synctest.Test)
}

// IdempotencyServer is the same suite in real time, for a store on a server: it waits for leases of
// the given length to run out, about twenty times. Choose the shortest that a slow test machine keeps;
// 500 ms is a start.
func IdempotencyServer(t *testing.T, lease time.Duration, open func(t *testing.T) idempotency.Store) {
	t.Helper()
	s := idempotencySuite{open: open, lease: lease, remember: 4 * lease}
	s.run(t, func(t *testing.T, f func(t *testing.T)) { t.Helper(); f(t) })
}

type idempotencySuite struct {
	open     func(t *testing.T) idempotency.Store
	lease    time.Duration
	remember time.Duration
}

func (s *idempotencySuite) run(t *testing.T, in func(*testing.T, func(*testing.T))) {
	t.Helper()
	for _, x := range []struct {
		name string
		test func(*testing.T, *idempotencyStore)
	}{
		{"commit", testIdempotencyCommit},
		{"abort", testIdempotencyAbort},
		{"running", testIdempotencyRunning},
		{"result", testIdempotencyResult},
		{"remember", testIdempotencyRemember},
		{"takeover", testIdempotencyTakeover},
		{"fencing", testIdempotencyFencing},
		{"late owner", testIdempotencyLate},
		{"renew", testIdempotencyRenew},
		{"conflict", testIdempotencyConflict},
		{"scopes", testIdempotencyScopes},
		{"keys", testIdempotencyKeys},
		{"one of many", testIdempotencyOneOfMany},
		{"mutual exclusion", testIdempotencyExclusion},
		{"crashes", testIdempotencyCrashes},
	} {
		t.Run(x.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				x.test(t, &idempotencyStore{Store: s.open(t), t: t, lease: s.lease, remember: s.remember})
			})
		})
	}
}

// idempotencyStore is the store under test with what the tests say often.
type idempotencyStore struct {
	idempotency.Store

	t               *testing.T
	lease, remember time.Duration
}

func sumA() idempotency.Digest { return idempotency.Sum([]byte("a")) }
func sumB() idempotency.Digest { return idempotency.Sum([]byte("b")) }

func (s *idempotencyStore) ask(key string, d idempotency.Digest) (idempotency.Claim, error) {
	return s.Begin(s.t.Context(), idempotency.BeginRequest{Scope: "flow/step", Key: key, Digest: d, Lease: s.lease})
}

// begin begins a key that must be free.
func (s *idempotencyStore) begin(key string) idempotency.Claim {
	s.t.Helper()
	c, err := s.ask(key, sumA())
	if err != nil {
		s.t.Fatalf("Begin(%q): %v", key, err)
	}
	if c.Done {
		s.t.Fatalf("Begin(%q): done; want a claim", key)
	}
	if c.Scope != "flow/step" || c.Key != key || c.Token == 0 {
		s.t.Fatalf("Begin(%q): claim %+v; want scope, key and a token", key, c)
	}
	return c
}

func (s *idempotencyStore) commit(c idempotency.Claim, result string) error {
	return s.Commit(s.t.Context(), idempotency.CommitRequest{Claim: c, Result: result, Remember: s.remember})
}

// committed commits a claim that must be good.
func (s *idempotencyStore) committed(c idempotency.Claim, result string) {
	s.t.Helper()
	if err := s.commit(c, result); err != nil {
		s.t.Fatalf("Commit(%q): %v", c.Key, err)
	}
}

// done checks that the key is done.
func (s *idempotencyStore) done(key string) idempotency.Claim {
	s.t.Helper()
	c, err := s.ask(key, sumA())
	if err != nil || !c.Done {
		s.t.Fatalf("Begin(%q): done %v, error %v; want done", key, c.Done, err)
	}
	return c
}

func (s *idempotencyStore) is(what string, err, want error) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Fatalf("%s: error %v; want %q", what, err, want)
	}
}

// pass lets time pass.
func (s *idempotencyStore) pass(d time.Duration) {
	s.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.t.Context().Done():
		s.t.Fatal("the test ended while it waited for a lease")
	}
}

// expire has every lease run out that was begun or renewed before.
func (s *idempotencyStore) expire() { s.t.Helper(); s.pass(s.lease + s.lease/4) }

func testIdempotencyCommit(t *testing.T, s *idempotencyStore) {
	c := s.begin("k")
	if c.Again {
		t.Fatal("the first claim on a key says Again")
	}
	s.committed(c, "")
	for range 3 {
		if d := s.done("k"); d.Result != "" {
			t.Fatalf("result %q of a key committed without one", d.Result)
		}
	}
	s.expire()
	s.done("k") // the lease was the claim's, not the mark's
	s.begin("other")
}

func testIdempotencyAbort(t *testing.T, s *idempotencyStore) {
	c := s.begin("k")
	if err := s.Abort(t.Context(), c); err != nil {
		t.Fatalf("Abort: %v", err)
	}
	again := s.begin("k")
	if again.Again {
		t.Fatal("a key that was let go says Again: nobody died")
	}
	if again.Token <= c.Token {
		t.Fatalf("token %d after %d: want a greater one", again.Token, c.Token)
	}
	s.is("Abort by the owner before", s.Abort(t.Context(), c), idempotency.ErrLost)
	s.committed(again, "")
	s.done("k")
	s.is("Abort of a key that is done", s.Abort(t.Context(), again), idempotency.ErrLost)
	s.done("k")
}

func testIdempotencyRunning(t *testing.T, s *idempotencyStore) {
	c := s.begin("k")
	s.pass(s.lease / 2)
	_, err := s.ask("k", sumA())
	s.is("Begin of a running key", err, idempotency.ErrRunning)
	if _, later := channel.IsLater(err); !later {
		t.Fatalf("error %v of a running key is not Later", err)
	}
	s.committed(c, "")
	s.done("k")
}

func testIdempotencyResult(t *testing.T, s *idempotencyStore) {
	big := make([]byte, 256<<10)
	for i := range big {
		big[i] = byte(i * 7)
	}
	for i, want := range []string{"x", "\x00\xff\r\n", string(big)} {
		key := "k" + strconv.Itoa(i)
		s.committed(s.begin(key), want)
		if got := s.done(key).Result; got != want {
			t.Fatalf("result %d: %d bytes came back of %d, or others", i, len(got), len(want))
		}
	}
}

func testIdempotencyRemember(_ *testing.T, s *idempotencyStore) {
	s.committed(s.begin("k"), "r")
	s.pass(s.remember * 3 / 4)
	s.done("k")
	s.pass(s.remember * 5 / 4) // how much longer a store remembers is its own affair, but not for ever
	s.committed(s.begin("k"), "")
}

func testIdempotencyTakeover(t *testing.T, s *idempotencyStore) {
	dead := s.begin("k")
	s.expire()
	c := s.begin("k")
	if !c.Again {
		t.Fatal("a claim that was taken over does not say Again")
	}
	if c.Token <= dead.Token {
		t.Fatalf("token %d after %d: want a greater one", c.Token, dead.Token)
	}
	_, err := s.ask("k", sumA())
	s.is("Begin while the new owner runs", err, idempotency.ErrRunning)
	s.committed(c, "")
	s.done("k")
}

func testIdempotencyFencing(t *testing.T, s *idempotencyStore) {
	ctx := t.Context()
	old := s.begin("k")
	s.expire()
	c := s.begin("k")
	check := func(when string) {
		t.Helper()
		s.is("Commit by the old owner "+when, s.commit(old, "old"), idempotency.ErrLost)
		s.is("Renew by the old owner "+when, s.Renew(ctx, old, s.lease), idempotency.ErrLost)
		s.is("Abort by the old owner "+when, s.Abort(ctx, old), idempotency.ErrLost)
	}
	check("while the new one runs")
	if _, later := channel.IsLater(s.commit(old, "old")); !later {
		t.Fatal("a refused Commit is not Later: its message would be acknowledged or buried")
	}
	_, err := s.ask("k", sumA())
	s.is("Begin after the old owner's calls", err, idempotency.ErrRunning)
	if err := s.Abort(ctx, c); err != nil {
		t.Fatalf("Abort by the new owner: %v", err)
	}
	check("after the new one let go")
	c = s.begin("k")
	check("while the next one runs")
	s.committed(c, "new")
	check("after the new one committed")
	if r := s.done("k").Result; r != "new" {
		t.Fatalf("result %q; want that of the owner, %q", r, "new")
	}
}

// A lease that is over but that nobody took over is still its owner's: work that took long is not done
// again for that alone.
func testIdempotencyLate(t *testing.T, s *idempotencyStore) {
	a, b := s.begin("commit"), s.begin("abort")
	c := s.begin("renew")
	s.expire()
	s.committed(a, "")
	s.done("commit")
	if err := s.Abort(t.Context(), b); err != nil {
		t.Fatalf("Abort: %v", err)
	}
	s.begin("abort")
	if err := s.Renew(t.Context(), c, s.lease); err != nil {
		t.Fatalf("Renew: %v", err)
	}
	_, err := s.ask("renew", sumA())
	s.is("Begin after a late Renew", err, idempotency.ErrRunning)
}

func testIdempotencyRenew(t *testing.T, s *idempotencyStore) {
	c := s.begin("k")
	for range 6 {
		s.pass(s.lease / 2)
		if err := s.Renew(t.Context(), c, s.lease); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		_, err := s.ask("k", sumA())
		s.is("Begin of a key that is renewed", err, idempotency.ErrRunning)
	}
	s.expire()
	s.begin("k")
}

func testIdempotencyConflict(t *testing.T, s *idempotencyStore) {
	conflict := func(key string, d idempotency.Digest, when string) {
		t.Helper()
		_, err := s.ask(key, d)
		s.is("Begin with another digest "+when, err, idempotency.ErrConflict)
		if !channel.IsPermanent(err) {
			t.Fatalf("conflict %s is not permanent: %v", when, err)
		}
	}
	c := s.begin("k")
	conflict("k", sumB(), "while running")
	_, err := s.ask("k", idempotency.Digest{})
	s.is("Begin without a digest", err, idempotency.ErrRunning)
	s.committed(c, "r")
	conflict("k", sumB(), "when done")
	if c, err := s.ask("k", idempotency.Digest{}); err != nil || !c.Done {
		t.Fatalf("Begin without a digest: done %v, error %v; want done", c.Done, err)
	}
	if r := s.done("k").Result; r != "r" {
		t.Fatalf("result %q after a conflict; want %q", r, "r")
	}

	// A key that was let go has no digest to keep.
	if err := s.Abort(t.Context(), s.begin("free")); err != nil {
		t.Fatalf("Abort: %v", err)
	}
	b, err := s.ask("free", sumB())
	if err != nil {
		t.Fatalf("Begin of a key that was let go, with another digest: %v", err)
	}
	s.committed(b, "")
	conflict("free", sumA(), "when done by the second")

	// A key begun without a digest conflicts with nothing.
	n, err := s.ask("none", idempotency.Digest{})
	if err != nil {
		t.Fatalf("Begin without a digest: %v", err)
	}
	s.committed(n, "")
	s.done("none")
}

func testIdempotencyScopes(t *testing.T, s *idempotencyStore) {
	in := func(scope, key string) (idempotency.Claim, error) {
		return s.Begin(t.Context(), idempotency.BeginRequest{Scope: scope, Key: key, Digest: sumA(), Lease: s.lease})
	}
	// Pairs that would be one key if a store joined scope and key carelessly.
	pairs := [][2]string{{"a/b", "k"}, {"a", "b/k"}, {"a", "k"}, {"a|b", "k"}, {"a", "b|k"}, {"a:b", "k"}, {"a", "b:k"}, {"", "a/bk"}, {"a/b", "K"}, {"a\x00b", "k"}, {"a", "b\x00k"}}
	for _, p := range pairs {
		c, err := in(p[0], p[1])
		if err != nil || c.Done {
			t.Fatalf("Begin(%q, %q): done %v, error %v; want a claim: it meets another scope's", p[0], p[1], c.Done, err)
		}
		s.committed(c, p[0]+p[1])
	}
	for _, p := range pairs {
		c, err := in(p[0], p[1])
		if err != nil || !c.Done || c.Result != p[0]+p[1] {
			t.Fatalf("Begin(%q, %q): %+v, error %v; want done with its own result", p[0], p[1], c, err)
		}
	}
}

func testIdempotencyKeys(t *testing.T, s *idempotencyStore) {
	long := make([]byte, 4096)
	for i := range long {
		long[i] = 'x'
	}
	keys := []string{
		"0b8e1b2c-6f4d-4c6e-9d0a-2f1f6a5b7c8d", "0B8E1B2C-6F4D-4C6E-9D0A-2F1F6A5B7C8D", "0b8e1b2c6f4d4c6e9d0a2f1f6a5b7c8d",
		"orders/0/17", "", " ", "\x00", "\xff\xfe", "*", "{tag}", "a b", "ä", string(long), string(long[1:]),
	}
	for _, k := range keys {
		s.committed(s.begin(k), "result of "+k)
	}
	for _, k := range keys {
		if r := s.done(k).Result; r != "result of "+k {
			t.Fatalf("key %.40q has another's result %.40q", k, r)
		}
	}
}
