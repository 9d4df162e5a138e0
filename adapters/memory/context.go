package memory

import (
	"context"
	"sync"

	"github.com/leat-go/leat/adapters"
)

// messageContext is the context of one delivery to a plain subscriber: the subscription's, until the
// message is settled. Most handlers never wait for it, so what that needs is made when somebody asks;
// it is the standard library's, and so are causes and children.
type messageContext struct {
	context.Context //nolint:containedctx // The subscription's; this is a context.

	again int

	mu     sync.Mutex
	ended  bool
	full   context.Context //nolint:containedctx // It is the same context, once somebody waits.
	cancel context.CancelCauseFunc
}

type againKey struct{}

// Again says how often a message that a Subscriber of this package delivered was delivered before, by
// its context.
func Again(ctx context.Context) int {
	n, _ := ctx.Value(againKey{}).(int)
	return n
}

// Done is closed when the message is settled or taken away, and when the subscription's context ends.
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

// Err is context.Canceled once the message is settled.
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

// Value gives the subscription's values.
func (c *messageContext) Value(key any) any {
	switch key {
	case againKey{}:
		return c.again
	case adapters.RedeliveredKey{}:
		return c.again > 0
	}
	c.mu.Lock()
	full := c.full
	c.mu.Unlock()
	if full != nil {
		return full.Value(key)
	}
	return c.Context.Value(key)
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
