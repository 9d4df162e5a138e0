package aggregator

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// Add adds a member. The cost is one lock, one map access and two probes for the id, however many
// groups and members there are.
func (s *Memory) Add(ctx context.Context, r AddRequest) (Added, error) {
	x := s.scope(r.Scope)
	if r.Fold != nil {
		return x.fold(ctx, r)
	}
	x.mu.Lock()
	defer x.unlock()
	g, known := x.find(&r)
	if known.State != 0 {
		return known, nil
	}
	return x.join(&r, g, &r.Entry)
}

// find gives the open group of the key, nil if there is none, or, if the entry is not to be added, why.
func (x *scope) find(r *AddRequest) (*group, Added) {
	uid := r.Entry.UID()
	var last *group
	for g := x.groups[r.Key]; g != nil; g = g.newer {
		if last = g; g.has(uid) {
			state := Closed
			if g.phase == open {
				state = Duplicate
			}
			return nil, g.added(state)
		}
	}
	switch {
	case x.released.has(uid):
		return nil, Added{State: Released}
	case last != nil && last.phase == open:
		return last, Added{}
	case r.Once && (last != nil || x.released.has(keyID(r.Key))):
		return nil, Added{State: Late}
	}
	return nil, Added{}
}

// join adds the entry to g, or to a new group if g is nil. What the group keeps is the entry, or the
// state it was folded into.
func (x *scope) join(r *AddRequest, g *group, keep *channel.Entry) (Added, error) {
	var now int64
	if g == nil || r.Idle > 0 {
		now = x.now()
	}
	if g == nil {
		if err := x.room(r); err != nil {
			return Added{}, err
		}
		g = x.begin(r.Key)
		g.size = r.Size
		if r.Timeout > 0 {
			g.until = after(now, r.Timeout)
		}
		g.due = g.until
	}
	g.add(r.Entry.UID())
	if r.Fold == nil {
		g.entries = append(g.entries, *keep)
		g.bytes += keep.Size()
	} else {
		g.entries = append(g.entries[:0], *keep)
		g.bytes = keep.Size()
		x.versions++
		g.version = x.versions
	}
	if r.Idle > 0 {
		if g.due = after(now, r.Idle); g.until > 0 {
			g.due = min(g.due, g.until)
		}
	}
	reason := g.complete(r)
	if reason == "" {
		g.held++
		if g.due > 0 && g.index < 0 {
			x.heap.set(g)
			x.notify(g.due)
		}
		return g.added(Opened), nil
	}
	if now == 0 {
		now = x.now()
	}
	x.close(g, reason)
	a := g.added(Completed)
	a.Group = x.claim(g, now, r.Lease)
	return a, nil
}

// room refuses a new group, or closes the oldest for it, if there are too many. Those closed may wait
// to be sent; beyond as many again there is no room for more.
func (x *scope) room(r *AddRequest) error {
	if r.MaxOpen <= 0 || x.open.n < r.MaxOpen {
		return nil
	}
	if !r.ReleaseOldest || x.total >= 2*r.MaxOpen {
		return fmt.Errorf("opening a group: %d groups are open and %d are being released: %w", x.open.n, x.total-x.open.n, ErrTooManyGroups)
	}
	g := x.open.first
	x.close(g, CompletedByLimit)
	x.dueNow(g)
	return nil
}

func (g *group) added(s State) Added {
	return Added{State: s, Size: len(g.ids), Bytes: g.bytes, Generation: g.generation}
}

// complete says why g is complete, "" if it is not.
func (g *group) complete(r *AddRequest) string {
	switch n := len(g.ids); {
	case g.size > 0 && n >= g.size:
		return CompletedBySize
	case r.Complete:
		return CompletedByPredicate
	case r.MaxMembers > 0 && n >= r.MaxMembers, r.MaxBytes > 0 && g.bytes >= r.MaxBytes:
		return CompletedByLimit
	}
	return ""
}

// fold adds a member by folding it into the state: read, fold without the lock, write if nobody else
// has written.
func (x *scope) fold(ctx context.Context, r AddRequest) (Added, error) {
	for ctx.Err() == nil {
		state, version, known := x.state(&r)
		if known.State != 0 {
			return known, nil
		}
		next, complete, err := r.Fold(state, version == 0)
		if err != nil {
			return Added{}, err
		}
		if a, ok, err := x.swap(&r, &next, complete, version); ok {
			return a, err
		}
	}
	return Added{}, fmt.Errorf("adding to a group: %w", context.Cause(ctx))
}

// state gives what is folded so far and its version: 0 if nothing is.
func (x *scope) state(r *AddRequest) (state channel.Entry, version uint64, known Added) {
	x.mu.Lock()
	defer x.unlock()
	g, known := x.find(r)
	if g != nil {
		state, version = g.entries[0], g.version
	}
	return state, version, known
}

// swap adds the member if the state is still of that version. Versions never repeat, so a group that
// came and went in between is noticed.
func (x *scope) swap(r *AddRequest, next *channel.Entry, complete bool, version uint64) (a Added, ok bool, err error) {
	x.mu.Lock()
	defer x.unlock()
	g, known := x.find(r)
	switch {
	case known.State != 0:
		return known, true, nil
	case g == nil && version != 0, g != nil && g.version != version:
		return Added{}, false, nil
	}
	r.Complete = r.Complete || complete // it is not tried again
	a, err = x.join(r, g, next)
	return a, true, err
}
