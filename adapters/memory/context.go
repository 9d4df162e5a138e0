package memory

import (
	"context"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/lazy"
)

// messageContext is the context of one delivery to a plain subscriber: the subscription's, until the
// message is settled.
type messageContext struct {
	lazy.Context

	again int
}

type againKey struct{}

// Again says how often a message that a Subscriber of this package delivered was delivered before, by
// its context.
func Again(ctx context.Context) int {
	n, _ := ctx.Value(againKey{}).(int)
	return n
}

// Value gives the subscription's values.
func (c *messageContext) Value(key any) any {
	switch key {
	case againKey{}:
		return c.again
	case adapters.RedeliveredKey{}:
		return c.again > 0
	}
	return c.Context.Value(key)
}
