// Package lazy has a context that costs little until somebody waits for it.
package lazy

import (
	"context"
	"sync"
)

// A Context ends with the context in it, or by End. Most are never waited for, so what that needs is made when
// somebody asks; it is the standard library's, and so are causes and children.
type Context struct {
	context.Context //nolint:containedctx // The one that it ends with; this is a context.

	mu     sync.Mutex
	ended  bool
	full   context.Context //nolint:containedctx // It is the same context, once somebody waits.
	cancel context.CancelCauseFunc
}

// Done is closed when the context ends.
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fill()
	return c.full.Done()
}

// fill makes the context that can be waited for. The lock is held.
func (c *Context) fill() {
	if c.full != nil {
		return
	}
	c.full, c.cancel = context.WithCancelCause(c.Context)
	if c.ended {
		c.cancel(nil)
	}
}

// Err is context.Canceled after End; context.Cause says why.
func (c *Context) Err() error {
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

type inKey struct{}

// In reports whether ctx is such a context, or comes from one: to ask for its Done would cost what it saves.
func In(ctx context.Context) bool { return ctx.Value(inKey{}) != nil }

// Value gives those of the context in it.
func (c *Context) Value(key any) any {
	if key == (inKey{}) {
		return c
	}
	c.mu.Lock()
	of := c.full // which knows the cause
	c.mu.Unlock()
	if of == nil {
		of = c.Context
	}
	return of.Value(key)
}

// End ends the context. A cause that must be found costs the full context, nil nothing.
func (c *Context) End(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cause != nil {
		c.fill()
	}
	c.ended = true
	if c.full != nil {
		c.cancel(cause)
	}
}
