package faults_test

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// newWorldless is a world with choices and nothing else.
func newWorldless() *world { return &world{rnd: rand.New(rand.NewPCG(rand.Uint64(), 0))} }

// noted is a subscriber whose records a witness sees.
type noted struct {
	subscriber

	x     *witness
	twice bool
}

var (
	_ adapters.Grouper = noted{}
	_ adapters.Claims  = noted{}
)

// Group keeps the witness.
func (s noted) Group(name string) message.Subscriber {
	sub, ok := s.subscriber.Group(name).(subscriber)
	if !ok {
		panic("a group of a subscriber is one")
	}
	return noted{sub, s.x, s.twice}
}

func (s noted) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	return s.subscriber.Claim(ctx, topics, func(c adapters.Claim) { own(notedClaim{c, s}) })
}

type notedClaim struct {
	adapters.Claim

	s noted
}

// Next gives each record's contexts twice, if that is wanted: as brokers do whose headers are a list. The
// last counts.
func (c notedClaim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	was := len(run)
	run, err := c.Claim.Next(run)
	for i := was; i < len(run); i++ {
		c.s.x.note("record", run[i])
		if !c.s.twice {
			continue
		}
		var fs channel.Fields
		for name, value := range run[i].Headers.All() {
			fs = append(fs, channel.Field{Name: name, Value: value})
		}
		first := make(channel.Fields, 0, 2*len(fs))
		for _, f := range fs {
			switch f.Name {
			case "traceparent", "tracestate", "baggage", channel.HeaderOnly, channel.HeaderHops, channel.HeaderExpires:
				f.Value = "not this one"
				first = append(first, f)
			}
		}
		run[i].Headers = slices.Concat(first, fs)
	}
	return run, err
}

// notedPublisher shows a witness what is published.
type notedPublisher struct {
	*publisher

	x *witness
}

func (n notedPublisher) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	for _, o := range outs {
		n.x.note("outgoing", o)
		n.x.note("outgoing", *o)
	}
	n.publisher.Send(outs, func(outs []*adapters.Outgoing) {
		for _, o := range outs {
			if o.Err != nil {
				n.x.note("the error of a publish", o.Err)
			}
		}
		done(outs)
	})
}

// notedSeen and notedGroups show a witness what stores are asked and say.
type notedSeen struct {
	idempotency.Store

	x *witness
}

func (s notedSeen) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	c, err := s.Store.Begin(ctx, r)
	s.x.note("begin", err) // what a store is asked has keys in it
	return c, err
}

func (s notedSeen) Commit(ctx context.Context, r idempotency.CommitRequest) error {
	err := s.Store.Commit(ctx, r)
	s.x.note("commit", err)
	return err
}

type notedGroups struct {
	aggregator.Store

	x *witness
}

func (s notedGroups) Add(ctx context.Context, r aggregator.AddRequest) (aggregator.Added, error) {
	a, err := s.Store.Add(ctx, r)
	s.x.note("add", []any{r.Entry, a.Group.Entries, err})
	return a, err
}

func (s notedGroups) Claim(ctx context.Context, r aggregator.ClaimRequest) (aggregator.Group, error) {
	g, err := s.Store.Claim(ctx, r)
	s.x.note("claim", []any{g.Entries, err})
	return g, err
}

func (s notedGroups) Release(ctx context.Context, r aggregator.ReleaseRequest) error {
	err := s.Store.Release(ctx, r)
	s.x.note("release", []any{r.Group.Entries, err})
	return err
}
