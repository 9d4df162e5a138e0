package aggregator

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/channel"
)

// A Memory is a Store in the process: open groups are lost with the process.
//
// It keeps entries as they are; nothing is encoded. The ids of released members are remembered in
// memory too, at most MaxRemembered of them a scope; beyond that the oldest half is forgotten early,
// which Stats counts. A member that comes again after its id was forgotten opens a new group.
//
// The zero value is ready. It is safe for concurrent use and must not be copied. Steps of one store do
// not wait for each other: there is one lock a scope.
type Memory struct {
	MaxRemembered int // ids a scope, 34 to 68 bytes each; 0: 1,000,000

	mu     sync.Mutex // of writes to scopes
	scopes atomic.Pointer[map[string]*scope]
}

// Stats says how much a Memory holds of a scope.
type Stats struct {
	Groups     int // open, waiting and claimed
	Open       int // of them, those that still take members
	Remembered int // ids of released members
	Forgotten  int // ids that were forgotten before their time, because of MaxRemembered
}

// Stats counts what the store holds of a scope ("flow/step").
func (s *Memory) Stats(scope string) Stats {
	x := s.scope(scope)
	x.mu.Lock()
	defer x.mu.Unlock()
	return Stats{Groups: x.total, Open: x.open.n, Remembered: x.released.size(), Forgotten: x.released.forgotten}
}

// scope gives the scope of a name. The map is replaced, never changed, so that looking takes no lock.
func (s *Memory) scope(name string) *scope {
	if m := s.scopes.Load(); m != nil {
		if x := (*m)[name]; x != nil {
			return x
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]*scope{}
	if old := s.scopes.Load(); old != nil {
		if x := (*old)[name]; x != nil {
			return x
		}
		m = maps.Clone(*old)
	}
	x := newScope(name)
	m[name] = x
	s.scopes.Store(&m)
	return x
}

// Claim takes a group.
func (s *Memory) Claim(_ context.Context, r ClaimRequest) (Group, error) {
	x := s.scope(r.Scope)
	x.mu.Lock()
	defer x.unlock()
	now, busy := x.now(), false
	for g := x.groups[r.Key]; g != nil; g = g.newer {
		switch {
		case r.Member != channel.ID{} && !g.has(r.Member):
		case g.phase == claimed && now < g.due:
			busy = true
		case g.phase == open && (r.Member != channel.ID{} || !r.Early && !g.overdue(now)):
		default:
			if g.phase == open {
				reason := CompletedByEnd
				if g.overdue(now) {
					reason = CompletedByTimeout
				}
				x.close(g, reason)
			}
			return x.claim(g, now, r.Lease), nil
		}
	}
	switch {
	case busy:
		return Group{}, ErrBusy
	case r.Member != channel.ID{} && x.released.has(r.Member):
		return Group{}, ErrReleased
	}
	return Group{}, ErrNoGroup
}

// Release removes a claimed group.
func (s *Memory) Release(_ context.Context, r ReleaseRequest) error {
	x := s.scope(r.Group.Scope)
	x.mu.Lock()
	defer x.unlock()
	g := x.owned(&r.Group)
	if g == nil {
		return ErrLost
	}
	if r.Remember > 0 {
		limit := s.MaxRemembered
		if limit == 0 {
			limit = 1_000_000
		}
		x.released.room(len(g.ids)+1, x.now(), r.Remember, limit)
		for _, id := range g.ids {
			x.released.young.add(id)
		}
		if r.Once {
			x.released.young.add(keyID(g.key))
		}
	}
	x.drop(g)
	return nil
}

// Return gives a claim up.
func (s *Memory) Return(_ context.Context, r Group) error {
	x := s.scope(r.Scope)
	x.mu.Lock()
	defer x.unlock()
	if g := x.owned(&r); g != nil {
		g.phase = waiting
		x.dueNow(g)
	}
	return nil
}

// Due lists what is due, the longest overdue first. Its Changed closes when a group becomes due before
// Next. In normal operation that is at most once for each group, when it is opened.
func (s *Memory) Due(_ context.Context, r channel.DueRequest) (channel.Due, error) {
	x := s.scope(r.Scope)
	x.mu.Lock()
	defer x.unlock()
	now := x.now()
	if !r.Now.IsZero() {
		now = int64(r.Now.Sub(x.epoch))
	}
	return x.dueAt(now, r.Limit, r.All), nil
}

// Open counts the groups that were not released yet.
func (s *Memory) Open(_ context.Context, scope string) (int64, error) {
	x := s.scope(scope)
	x.mu.Lock()
	defer x.unlock()
	return int64(x.total), nil
}

// keyID is the id under which it is remembered that a key had its one group.
func keyID(key string) channel.ID { return channel.DeriveID("aggregator", "once", key) }

// after is d after now, and never before it.
func after(now int64, d time.Duration) int64 {
	if t := now + int64(d); t > now {
		return t
	}
	return 0 // in three centuries
}
