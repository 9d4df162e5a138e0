package subscription

import (
	"context"
	"sync/atomic"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/lazy"
)

// messageContext is the context of one delivery: the record's, or else the claim's, until the message is
// settled. It outlives the subscription's, of which it has the values.
type messageContext struct {
	lazy.Context

	subscription context.Context //nolint:containedctx // For its values; it never ends.
	native       any             // may answer for values of its own
	again        int
	doubtful     bool
	back         atomic.Bool // the nack to come is no attempt
}

type againKey struct{}

// Again says how often the message with this context was delivered before, as far as is known.
func Again(ctx context.Context) int {
	n, _ := ctx.Value(againKey{}).(int)
	return n
}

// Value gives the values of the native record, then of the record's context, then of the subscription's.
func (c *messageContext) Value(key any) any {
	switch key {
	case againKey{}:
		return c.again
	case adapters.RedeliveredKey{}:
		return c.again > 0 || c.doubtful
	case adapters.GiveBackKey{}:
		return func() { c.back.Store(true) }
	}
	if n, ok := c.native.(interface{ Value(key any) any }); ok {
		if v := n.Value(key); v != nil {
			return v
		}
	}
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.subscription.Value(key)
}
