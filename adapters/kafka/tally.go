package kafka

import (
	"time"

	"github.com/leat-go/leat/adapters/internal/subscription"
)

// A tally is what is counted of a subscriber.
type tally struct{}

func (*tally) rebalanced()                 {}
func (*tally) claimed(*claim)              {}
func (*tally) released(*claim)             {}
func (*tally) committed(*claim, time.Time) {}
func (*tally) events() subscription.Events { return subscription.Events{} }
