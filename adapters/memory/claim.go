package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/leat-go/leat/adapters"
)

var (
	errNoTopics = errors.New("claim without topics: name at least one")
	errNoRoom   = errors.New("run has no room: give Next a slice with capacity to spare")
	errLetGo    = errors.New("claim was let go")
)

// A claim is one topic while a member reads it. Lanes with records of the claim in flight are its own;
// other members take the others.
type claim struct {
	*consumer

	given  context.Context //nolint:containedctx // That of Claim: how long to read.
	ctx    context.Context //nolint:containedctx // Ownership: how long to settle.
	cancel context.CancelCauseFunc
	turns  chan struct{} // one Next at a time
}

// Claim calls own once for each topic and returns when all have returned: nil when ctx ended or the
// subscriber was closed. A topic is its own only partition: several members of a group claim it
// together and share its lanes. An own that returns early lets go of its topic; what it has not
// finished is delivered again.
func (s *Subscriber) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	return s.claim(ctx, topics, own, func([]*claim) {})
}

// claim is Claim; joined is called before any own.
func (s *Subscriber) claim(ctx context.Context, topics []string, own func(adapters.Claim), joined func([]*claim)) error {
	if err := s.broker.configure(); err != nil {
		return err
	}
	if len(topics) == 0 {
		return errNoTopics
	}
	for i, topic := range topics {
		if slices.Contains(topics[:i], topic) {
			return fmt.Errorf("claim of topic %q twice: name it once", topic)
		}
	}
	var claims []*claim
	var err error
	for _, topic := range topics {
		c := &claim{consumer: newConsumer(s, topic), given: ctx, turns: make(chan struct{}, 1)}
		c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx)) //nolint:fatcontext // One for each claim.
		c.force = func() { c.release(c.errLost()) }
		if err = c.join(true, s.broker.conf.window); err != nil {
			break
		}
		claims = append(claims, c)
	}
	if err != nil {
		own = func(adapters.Claim) {} // what was claimed is let go
	} else {
		joined(claims)
	}
	unwatch := context.AfterFunc(ctx, func() {
		for _, c := range claims {
			c.stop(context.Cause(ctx))
		}
	})
	defer unwatch()
	var all sync.WaitGroup
	for _, c := range claims {
		all.Go(func() {
			defer c.letGo()
			own(c)
		})
	}
	all.Wait()
	return err
}

// letGo ends the claim because own has returned.
func (c *claim) letGo() {
	c.stop(errLetGo)
	c.timer.Stop()
	c.release(errLetGo)
}

// stopped reports whether the claim has stopped reading: at once when its context ends, though stop may
// be still to come.
func (c *claim) stopped() bool {
	if c.given.Err() != nil {
		c.stop(context.Cause(c.given))
	}
	return c.consumer.stopped()
}

// release gives back what is not finished and ends ownership.
func (c *claim) release(cause error) {
	c.cancel(cause)
	c.giveBack()
	c.depart()
}

// Context is documented at adapters.Claim.
func (c *claim) Context() context.Context { return c.ctx }

// Topic is documented at adapters.Claim.
func (c *claim) Topic() string { return c.topic }

// Order is the broker's.
func (c *claim) Order() adapters.Order { return c.end.broker.conf.order }

// Next is documented at adapters.Claim. The records of one lane come in order; lanes take turns. A
// lane of which a record was returned gives nothing until its other records in flight are settled.
func (c *claim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	if len(run) == cap(run) {
		return run, errNoRoom
	}
	select {
	case c.turns <- struct{}{}:
	case <-c.stopping:
		return run, c.errStopped()
	}
	defer func() { <-c.turns }()
	t := c.group.topic
	for was := len(run); ; {
		if c.stopped() {
			c.sate()
			return run, c.errStopped()
		}
		t.mu.Lock()
		run = c.many(run)
		t.unlock()
		if len(run) > was {
			return run, nil
		}
		select {
		case <-c.wake:
		case <-c.stopping:
		}
	}
}

func (c *claim) errStopped() error { return fmt.Errorf("reading topic %q ended: %w", c.topic, c.why) }

// Finish is documented at adapters.Claim. What the claim no longer has is ignored.
func (c *claim) Finish(rs []*adapters.Record) { c.settle(rs, acked) }

// Return is documented at adapters.Claim. While the claim reads on, a lane pauses as after a nack; once
// it stops, others get the records at once.
func (c *claim) Return(rs []*adapters.Record) {
	if c.stopped() {
		c.settle(rs, lost)
		return
	}
	c.settle(rs, nacked)
}

func (c *claim) settle(rs []*adapters.Record, f fate) {
	t := c.group.topic
	t.mu.Lock()
	over := c.ctx.Err() != nil // and everybody knows: release gives back what there is
	for _, r := range rs {
		d, ok := r.Native.(*delivery)
		switch {
		case over || !ok || !c.has(d, r.Again):
		case f != acked && r.Unseen:
			c.member.settle(d, unoffered)
		default:
			c.member.settle(d, f)
		}
	}
	t.unlock()
}
