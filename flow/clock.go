package flow

import (
	"context"
	"fmt"
	"math"
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
	pending map[string]bool // handed over, not ended; true: the store has named it again meanwhile
	full    bool            // there was more than could be handed over
	moved   bool            // something has come to an end since all had
	kick    chan struct{}   // ask now
	soon    chan struct{}   // ask in a while
}

const (
	clockPoll  = time.Minute // a store that cannot tell is asked this often
	clockRetry = time.Second // after a store's error
)

func (h *Handle) clock(in *inlet) *clock {
	c := &clock{h: h, in: in, pending: map[string]bool{}, kick: make(chan struct{}, 1), soon: make(chan struct{}, 1)}
	c.lane = h.lane(nil, []*inlet{in}, adapters.KeyOrdered)
	c.lane.ended = c.ended
	return c
}

func (c *clock) run(ctx context.Context) {
	if !c.h.following.ready(ctx) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.lane.run(ctx)
	}()
	defer func() {
		c.lane.close(false)
		<-done
	}()
	timer := time.AfterFunc(math.MaxInt64, func() { nudge(c.kick) })
	defer timer.Stop()
	nudge(c.kick)
	steps := c.h.flow.reached([]*inlet{c.in})
	var changed <-chan struct{}
	var at time.Time // when the timer goes off; zero: never
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-c.kick:
		case <-c.soon:
			if at.IsZero() || time.Until(at) > clockRetry {
				at = time.Now().Add(clockRetry)
				timer.Reset(clockRetry)
			}
			continue
		}
		if !c.h.wait(ctx, steps) {
			return
		}
		due, err := c.ask(ctx)
		if err != nil {
			if ctx.Err() == nil {
				c.h.flow.logger().Warn("a clock does not tell what is due, trying again", "flow", c.h.flow.name, "step", c.in.step.name, "error", err)
			}
			changed, at = nil, time.Now().Add(clockRetry)
			timer.Reset(clockRetry)
			continue
		}
		changed, at = due.Changed, due.Next
		if poll := time.Now().Add(clockPoll); changed == nil && (at.IsZero() || at.After(poll)) {
			at = poll
		}
		switch d := time.Until(at); {
		case at.IsZero():
			timer.Stop()
		case d > 0:
			timer.Reset(d)
		default:
			at = time.Time{}
			timer.Stop()
			c.askWhenEnded()
		}
	}
}

// askWhenEnded has the clock ask again when what was handed over has ended: there is more that is due
// already, and to ask at once would be to spin. What takes long does not hold up the rest: it is asked for in a while, too.
func (c *clock) askWhenEnded() {
	c.mu.Lock()
	c.full = true
	now := c.through()
	c.mu.Unlock()
	if now {
		nudge(c.kick)
	} else {
		nudge(c.soon)
	}
}

// through reports, once and with the lock held, that all that was handed over has ended, and not in vain: only then there is
// more to be had at once.
func (c *clock) through() bool {
	if len(c.pending) > 0 || !c.moved {
		return false
	}
	c.moved = false
	return true
}

// ask hands over what is due and not handed over yet. A key that is may be due for its next group.
func (c *clock) ask(ctx context.Context) (channel.Due, error) {
	c.mu.Lock()
	limit := dueLimit + len(c.pending)
	c.mu.Unlock()
	due, err := c.in.due(ctx, channel.DueRequest{Now: time.Now(), Limit: limit})
	if err != nil {
		return due, err
	}
	var rs []*adapters.Record
	c.mu.Lock()
	c.full = len(due.Keys) >= limit
	for _, k := range due.Keys {
		_, known := c.pending[k]
		c.pending[k] = known
		if !known {
			rs = append(rs, &adapters.Record{Key: k, ID: c.in.step.scope + "/" + k})
		}
	}
	c.mu.Unlock()
	if len(rs) > 0 {
		c.lane.push(rs...)
	}
	return due, nil
}

// due asks an inlet's clock.
func (in *inlet) due(ctx context.Context, r channel.DueRequest) (due channel.Due, err error) {
	r.Scope = in.step.scope
	err = guard(func() (err error) {
		due, err = in.clock.Due(ctx, r)
		return err
	})
	if err != nil {
		return channel.Due{}, fmt.Errorf("asking the clock of step %s what is due: %w", in.step.name, err)
	}
	return due, nil
}

// ended is called for every key that was handed over. One that came to nothing, because somebody else
// has a claim on it, say, may be due again before anything the store has told of, and so may one that it has named twice: it is
// asked again, but not at once, for nobody shall spin.
func (c *clock) ended(key string, clean bool) {
	c.mu.Lock()
	again := c.pending[key]
	delete(c.pending, key)
	c.moved = c.moved || clean
	full := c.full
	now := full && c.through()
	c.mu.Unlock()
	switch {
	case now:
		nudge(c.kick)
	case full, again, !clean:
		nudge(c.soon)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
