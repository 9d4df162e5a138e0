package idempotency

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/channel"
)

// A Memory is a Store in the process: its marks are lost with the process, and after a restart
// duplicates of what was done before it are processed again.
//
// It remembers at most Max keys of a scope. Beyond that the oldest are forgotten, early, as many at
// once as half of what a part of it may hold; Stats counts them, and their duplicates are processed
// again. Claims in progress are never forgotten.
//
// The zero value is ready. It is safe for concurrent use and must not be copied. Set the fields before
// the first use.
type Memory struct {
	// Max is how many done keys of a scope are remembered at most. 0: 1,000,000, which takes about
	// 100 MB when full.
	Max int
	// MaxBytes is how many bytes of results (Receiver.Middleware on producing handlers) are kept in a
	// scope at most. 0: 64 MiB.
	MaxBytes int
	// Expect is for how many keys of a scope to make room at once. 0: room is made as they come.
	Expect int

	mu     sync.Mutex // held to add a scope
	scopes atomic.Pointer[map[string]*scope]
}

// Stats are what a Memory holds, over all scopes.
type Stats struct {
	Running int // claims begun and neither committed nor aborted
	Done    int // keys remembered, those included that are out of date but not yet swept
	Bytes   int // of results
	// Forgotten counts the keys that were forgotten before their time because of Max or MaxBytes.
	Forgotten uint64
}

const (
	defaultMax      = 1_000_000
	defaultMaxBytes = 64 << 20
	shardsOf        = 16      // a scope has so many shards, so that many workers rarely meet
	minShard        = 1 << 10 // but one if a shard would hold fewer keys than this
)

// A scope is all that is remembered of one step.
type scope struct {
	seed   maphash.Seed // random: ids come from outside, and nobody shall choose where they go
	shards []shard
}

// Begin claims a key. It never fails but with ErrRunning and ErrConflict.
func (m *Memory) Begin(_ context.Context, r BeginRequest) (Claim, error) {
	s, key, hash := m.find(r.Scope, r.Key)
	c := Claim{Scope: r.Scope, Key: r.Key, place: place{shard: s}}
	s.mu.Lock()
	err := s.begin(key, hash, r.Digest, r.Lease, &c)
	s.mu.Unlock()
	if err != nil {
		return Claim{}, err
	}
	return c, nil
}

// Renew renews the lease of a claim.
func (m *Memory) Renew(_ context.Context, c Claim, lease time.Duration) error {
	s := m.place(&c)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.claimed(&c)
	if i < 0 {
		return ErrLost
	}
	s.running.at(i).until = s.after(s.now(), lease)
	return nil
}

// Commit marks a key as done.
func (m *Memory) Commit(_ context.Context, r CommitRequest) error {
	s := m.place(&r.Claim)
	s.mu.Lock()
	ok := s.commit(&r)
	s.mu.Unlock()
	if !ok {
		return ErrLost
	}
	return nil
}

// Abort lets go of a key.
func (m *Memory) Abort(_ context.Context, c Claim) error {
	s := m.place(&c)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.claimed(&c)
	if i < 0 {
		return ErrLost
	}
	s.running.remove(i)
	return nil
}

// Stats counts what the memory holds. It looks at one part after the other.
func (m *Memory) Stats() (st Stats) {
	all := m.scopes.Load()
	if all == nil {
		return st
	}
	for _, sc := range *all {
		for i := range sc.shards {
			s := &sc.shards[i]
			s.mu.Lock()
			st.Running += s.running.count
			st.Done += len(s.young.list) + len(s.old.list)
			st.Bytes += s.young.bytes + s.old.bytes
			st.Forgotten += s.forgotten
			s.mu.Unlock()
		}
	}
	return st
}

// find gives where a key belongs.
func (m *Memory) find(name, key string) (*shard, channel.ID, uint64) {
	var sc *scope
	if all := m.scopes.Load(); all != nil {
		sc = (*all)[name]
	}
	if sc == nil {
		sc = m.add(name)
	}
	id := channel.IDOf(key)
	h := hashOf(sc.seed, &id)
	// The upper half of the hash chooses the shard, the lower the place in its tables.
	return &sc.shards[int(h>>32)&(len(sc.shards)-1)], id, h
}

// place finds a claim's shard. A claim that somebody put together from scope, key and token, or that
// another Memory gave, has no place here and is looked for.
func (m *Memory) place(c *Claim) *shard {
	if c.shard != nil && c.shard.owner == m {
		return c.shard
	}
	s, key, hash := m.find(c.Scope, c.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.shard, c.index = s, s.running.find(key, hash)
	return s
}

// add makes a scope. The map is copied, so that finding one takes no lock.
func (m *Memory) add(name string) *scope {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[string]*scope{}
	if all := m.scopes.Load(); all != nil {
		if sc := (*all)[name]; sc != nil {
			return sc
		}
		maps.Copy(next, *all)
	}
	sc := m.newScope()
	next[name] = sc
	m.scopes.Store(&next)
	return sc
}

func (m *Memory) newScope() *scope {
	most, bytes := m.Max, m.MaxBytes
	if most <= 0 {
		most = defaultMax
	}
	if bytes <= 0 {
		bytes = defaultMaxBytes
	}
	n := shardsOf
	if most < shardsOf*minShard {
		n = 1
	}
	sc := &scope{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	now := time.Now()
	for i := range sc.shards {
		s := &sc.shards[i]
		s.owner, s.start = m, now
		// Tokens grow over restarts, as long as the clock does.
		s.token = uint64(now.UnixNano())
		s.most, s.mostBytes = min(max(1, most/n/2), maxMarks), max(1, bytes/n/2)
		s.young.seed, s.old.seed = sc.seed, sc.seed
		s.young.make(min(s.most, m.Expect/n+m.Expect/n/8))
	}
	return sc
}
