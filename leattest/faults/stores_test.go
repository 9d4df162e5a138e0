package faults_test

import (
	"context"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// seenStore is an idempotency store on a server, as a process reaches it.
type seenStore struct {
	real idempotency.Store
	p    *process
}

func (s seenStore) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	return call(s.p, "begin", r.Key, func() (idempotency.Claim, error) { return s.real.Begin(ctx, r) })
}

func (s seenStore) Renew(ctx context.Context, c idempotency.Claim, lease time.Duration) error {
	return do(s.p, "renew", c.Key, func() error { return s.real.Renew(ctx, c, lease) })
}

func (s seenStore) Commit(ctx context.Context, r idempotency.CommitRequest) error {
	return do(s.p, "commit", r.Claim.Key, func() error { return s.real.Commit(ctx, r) })
}

func (s seenStore) Abort(ctx context.Context, c idempotency.Claim) error {
	return do(s.p, "abort", c.Key, func() error { return s.real.Abort(ctx, c) })
}

// groupStore is an aggregator's store on a server, as a process reaches it.
type groupStore struct {
	real aggregator.Store
	p    *process

	forgets  bool // the ids of what was released are not remembered
	oneScope bool // all steps share what they keep
}

func (s groupStore) scope(name string) string {
	if s.oneScope {
		return "one"
	}
	return name
}

func (s groupStore) Add(ctx context.Context, r aggregator.AddRequest) (aggregator.Added, error) {
	r.Scope = s.scope(r.Scope)
	return call(s.p, "add", r.Entry.ID(), func() (aggregator.Added, error) { return s.real.Add(ctx, r) })
}

func (s groupStore) Claim(ctx context.Context, r aggregator.ClaimRequest) (aggregator.Group, error) {
	r.Scope = s.scope(r.Scope)
	return call(s.p, "claim", r.Key, func() (aggregator.Group, error) { return s.real.Claim(ctx, r) })
}

func (s groupStore) Release(ctx context.Context, r aggregator.ReleaseRequest) error {
	if s.forgets {
		r.Remember = 0
	}
	return do(s.p, "release", r.Group.Key, func() error { return s.real.Release(ctx, r) })
}

func (s groupStore) Return(ctx context.Context, g aggregator.Group) error {
	return do(s.p, "return", g.Key, func() error { return s.real.Return(ctx, g) })
}

func (s groupStore) Due(ctx context.Context, r channel.DueRequest) (channel.Due, error) {
	r.Scope = s.scope(r.Scope)
	return call(s.p, "due", "", func() (channel.Due, error) { return s.real.Due(ctx, r) })
}

func (s groupStore) Open(ctx context.Context, scope string) (int64, error) {
	return s.real.Open(ctx, s.scope(scope))
}
