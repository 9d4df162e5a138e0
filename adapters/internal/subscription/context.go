package subscription

import (
	"context"
	"sync"

	"github.com/leat-go/leat/adapters"
)

// messageContext is the context of one delivery: the record's, or else the claim's, until the message is
// settled. It outlives the subscription's, of which it has the values. Most handlers never wait for it,
// so what that needs is made when somebody asks; it is the standard library's, and so are causes and
// children.
type messageContext struct {
	context.Context //nolint:containedctx // The record's or the claim's; this is a context.

	subscription context.Context //nolint:containedctx // For its values; it never ends.
	native       any             // may answer for values of its own
	again        int
	doubtful     bool

	mu     sync.Mutex
	ended  bool
	full   context.Context //nolint:containedctx // It is the same context, once somebody waits.
	cancel context.CancelCauseFunc
}

type againKey struct{}

// Again says how often the message with this context was delivered before, as far as is known.
func Again(ctx context.Context) int {
	n, _ := ctx.Value(againKey{}).(int)
	return n
}

// Done is closed when the message is settled or taken away.
func (c *messageContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waitable().Done()
}

// waitable makes the context that can be waited for.
func (c *messageContext) waitable() context.Context {
	if c.full == nil {
		c.full, c.cancel = context.WithCancelCause(c.Context)
		if c.ended {
			c.cancel(nil)
		}
	}
	return c.full
}

// Err is context.Canceled once the message is settled or taken away; context.Cause says which.
func (c *messageContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.full != nil:
		return c.full.Err() //nolint:wrapcheck // It is the context's.
	case c.ended:
		return context.Canceled
	}
	return c.Context.Err() //nolint:wrapcheck // As above.
}

// Value gives the values of the native record, then of the record's context, then of the subscription's.
func (c *messageContext) Value(key any) any {
	switch key {
	case againKey{}:
		return c.again
	case adapters.RedeliveredKey{}:
		return c.again > 0 || c.doubtful
	}
	if n, ok := c.native.(interface{ Value(key any) any }); ok {
		if v := n.Value(key); v != nil {
			return v
		}
	}
	c.mu.Lock()
	of := c.full
	c.mu.Unlock()
	if of == nil {
		of = c.Context
	}
	if v := of.Value(key); v != nil {
		return v
	}
	return c.subscription.Value(key)
}

// end ends the context. A cause that must be found needs the full context; a settled message has none.
func (c *messageContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full != nil || cause != nil {
		c.waitable()
		c.cancel(cause)
	}
	c.ended = true
}
