package leattest

import (
	"context"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// AggregatorStore gives the instance's handle on a store that outlives it: each call is an effect.
func (i *Instance) AggregatorStore(s aggregator.Store) aggregator.Store { return groupsOf{i, s} }

// IdempotencyStore gives the instance's handle on a store that outlives it: each call is an effect, but
// for Renew, which a timer calls. A dead instance renews nothing.
func (i *Instance) IdempotencyStore(s idempotency.Store) idempotency.Store { return marksOf{i, s} }

type groupsOf struct {
	i *Instance
	s aggregator.Store
}

// call is one effect with a result. The result of a last effect is lost.
func call[R any](i *Instance, what string, f func() (R, error)) (R, error) {
	var r, none R
	err := i.Do(what, func() (err error) {
		r, err = f()
		return err
	})
	if i.Dead() {
		return none, ErrKilled
	}
	return r, err
}

func (g groupsOf) Add(ctx context.Context, r aggregator.AddRequest) (aggregator.Added, error) {
	return call(g.i, "add "+r.Scope+" "+r.Key+" "+r.Entry.ID(), func() (aggregator.Added, error) { return g.s.Add(ctx, r) })
}

func (g groupsOf) Claim(ctx context.Context, r aggregator.ClaimRequest) (aggregator.Group, error) {
	return call(g.i, "claim "+r.Scope+" "+r.Key, func() (aggregator.Group, error) { return g.s.Claim(ctx, r) })
}

func (g groupsOf) Release(ctx context.Context, r aggregator.ReleaseRequest) error {
	return g.i.Do("release "+r.Group.Scope+" "+r.Group.Key, func() error { return g.s.Release(ctx, r) })
}

func (g groupsOf) Return(ctx context.Context, x aggregator.Group) error {
	return g.i.Do("return "+x.Scope+" "+x.Key, func() error { return g.s.Return(ctx, x) })
}

func (g groupsOf) Due(ctx context.Context, r channel.DueRequest) (channel.Due, error) {
	return call(g.i, "due "+r.Scope, func() (channel.Due, error) { return g.s.Due(ctx, r) })
}

func (g groupsOf) Open(ctx context.Context, scope string) (int64, error) {
	if g.i.Dead() {
		return 0, ErrKilled
	}
	return g.s.Open(ctx, scope)
}

type marksOf struct {
	i *Instance
	s idempotency.Store
}

func (m marksOf) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	return call(m.i, "begin "+r.Scope+" "+r.Key, func() (idempotency.Claim, error) { return m.s.Begin(ctx, r) })
}

func (m marksOf) Commit(ctx context.Context, r idempotency.CommitRequest) error {
	return m.i.Do("commit "+r.Claim.Scope+" "+r.Claim.Key, func() error { return m.s.Commit(ctx, r) })
}

func (m marksOf) Abort(ctx context.Context, c idempotency.Claim) error {
	return m.i.Do("abort "+c.Scope+" "+c.Key, func() error { return m.s.Abort(ctx, c) })
}

func (m marksOf) Renew(ctx context.Context, c idempotency.Claim, lease time.Duration) error {
	if m.i.Dead() {
		return ErrKilled
	}
	return m.s.Renew(ctx, c, lease)
}
