package idempotency

import (
	"math"
	"sync"
	"time"

	"github.com/leat-go/leat/channel"
)

// A place is where a Memory finds a claim again without looking for it.
type place struct {
	shard *shard
	index int32
}

// A shard is a part of a scope: the claims in progress in one table, which is small, and the done keys
// in two, young and old. Done keys are only ever added. When young is full, or its keys are out of
// date, old is emptied and the two change places: nothing is deleted one by one.
type shard struct {
	owner *Memory
	start time.Time // its clock counts from here

	mu        sync.Mutex // held for all below
	running   claims
	young     marks
	old       marks
	token     uint64 // the last one given
	most      int    // keys in young
	mostBytes int    // of results in young
	longest   int64  // the longest Remember seen
	forgotten uint64
}

// now is the shard's clock, never 0. The monotonic clock alone: half as dear as time.Now.
func (s *shard) now() int64 { return int64(time.Since(s.start)) + 1 }

// after gives now + d, at most the end of time.
func (s *shard) after(now int64, d time.Duration) int64 {
	if int64(d) > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + max(int64(d), 1)
}

// begin reads the clock only if it has to: a new key with an endless lease needs none.
func (s *shard) begin(key channel.ID, hash uint64, d Digest, lease time.Duration, c *Claim) error {
	var now, until int64 = 0, math.MaxInt64
	if lease != Endless {
		now = s.now()
		until = s.after(now, lease)
	}
	if i := s.running.find(key, hash); i >= 0 {
		return s.takeOver(i, d, now, until, c)
	}
	t := &s.young
	x := t.find(&key, hash)
	if x == nil && len(s.old.list) > 0 {
		t = &s.old
		x = t.find(&key, hash)
	}
	if x != nil {
		if now == 0 {
			now = s.now()
		}
		if now < x.until {
			if conflict(d, x.digest) {
				return ErrConflict
			}
			c.Done, c.Result, c.place = true, t.results[key], place{}
			return nil
		}
	}
	s.token++
	c.Token = s.token
	c.index = s.running.add(claim{key: key, hash: hash, digest: d, token: s.token, until: until})
	return nil
}

// takeOver answers for a key that somebody is working on, or was.
func (s *shard) takeOver(i int32, d Digest, now, until int64, c *Claim) error {
	x := s.running.at(i)
	if conflict(d, x.digest) {
		return ErrConflict
	}
	if x.until == math.MaxInt64 {
		return ErrRunning
	}
	if now == 0 {
		now = s.now()
	}
	if now < x.until {
		return ErrRunning
	}
	s.token++
	x.token, x.until = s.token, until
	if d != (Digest{}) {
		x.digest = d
	}
	c.Token, c.Again, c.index = s.token, true, i
	return nil
}

// claimed gives the index of the claim if it is still its owner's, -1 if not.
func (s *shard) claimed(c *Claim) int32 {
	if s.running.holds(c.index, c.Token) {
		return c.index
	}
	return -1
}

// commit moves a key from the claims to the marks.
func (s *shard) commit(r *CommitRequest) bool {
	i := s.claimed(&r.Claim)
	if i < 0 {
		return false
	}
	x := *s.running.at(i)
	s.running.remove(i)

	now := s.now()
	n := len(s.young.list)
	// When young began longer ago than anything is remembered, all that is in old is out of date.
	if n >= s.most || n > 0 && (s.young.bytes+len(r.Result) > s.mostBytes || now-s.young.since >= s.longest) {
		s.swap(now)
	}
	s.longest = max(s.longest, int64(r.Remember))
	s.young.put(x.hash, &mark{key: x.key, digest: x.digest, until: s.after(now, r.Remember)}, r.Result)
	if s.young.since == 0 {
		s.young.since = now
	}
	return true
}

// swap makes young old and begins anew.
func (s *shard) swap(now int64) {
	s.forgotten += uint64(s.old.live(now)) //nolint:gosec // Never negative.
	s.young, s.old = s.old, s.young
	s.young.empty()
}

// conflict reports that two payloads are known to differ.
func conflict(a, b Digest) bool {
	return a != b && a != Digest{} && b != Digest{}
}
