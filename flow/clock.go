package flow

import (
	"context"
	"sync"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A clock is the time of one step: it asks what is due, hands the keys to its lane, and sleeps until
// the next is.
type clock struct {
	h    *Handle
	in   *inlet
	lane *lane

	mu      sync.Mutex
	pending map[string]struct{} // handed over, not ended
	full    bool                // there was more than could be handed over
	kick    chan struct{}
}

const (
	clockPoll  = time.Minute // a store that cannot tell is asked this often
	clockRetry = time.Second // after a store's error
)

func (h *Handle) clock(in *inlet) *clock {
	c := &clock{h: h, in: in, pending: map[string]struct{}{}, kick: make(chan struct{}, 1)}
	c.lane = h.lane(nil, []*inlet{in}, adapters.KeyOrdered)
	c.lane.ended = c.ended
	return c
}

func (c *clock) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.lane.run(ctx.Done())
	}()
	defer func() {
		c.lane.close(false)
		<-done
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var changed <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-changed:
		case <-c.kick:
		}
		due, err := c.ask(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.h.flow.logger().Warn("asking a clock what is due", "flow", c.h.flow.name, "step", c.in.step.name, "error", err)
			}
			changed = nil
			timer.Reset(clockRetry)
			continue
		}
		changed = due.Changed
		switch {
		case !due.Next.IsZero() && changed != nil:
			timer.Reset(max(0, time.Until(due.Next)))
		case !due.Next.IsZero():
			timer.Reset(min(clockPoll, max(0, time.Until(due.Next))))
		case changed != nil:
			timer.Stop()
		default:
			timer.Reset(clockPoll)
		}
	}
}

// ask hands over what is due and not handed over yet.
func (c *clock) ask(ctx context.Context) (channel.Due, error) {
	c.mu.Lock()
	limit := dueLimit + len(c.pending)
	c.mu.Unlock()
	var due channel.Due
	err := guard(func() (err error) { //nolint:nonamedreturns // Due gives both.
		due, err = c.in.clock.Due(ctx, channel.DueRequest{Scope: c.in.step.scope, Now: time.Now(), Limit: limit})
		return err
	})
	if err != nil {
		return due, err
	}
	var rs []adapters.Record
	c.mu.Lock()
	c.full = len(due.Keys) >= limit
	for _, k := range due.Keys {
		if _, ok := c.pending[k]; !ok {
			c.pending[k] = struct{}{}
			rs = append(rs, adapters.Record{Key: k, ID: c.in.step.scope + "/" + k})
		}
	}
	c.mu.Unlock()
	if len(rs) > 0 {
		c.lane.push(rs...)
	}
	return due, nil
}

// ended is called for every key that was handed over.
func (c *clock) ended(key string) {
	c.mu.Lock()
	delete(c.pending, key)
	more := c.full && len(c.pending) == 0
	c.mu.Unlock()
	if more {
		select {
		case c.kick <- struct{}{}:
		default:
		}
	}
}
