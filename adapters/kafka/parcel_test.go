package kafka

import (
	"context"
	"testing"

	"github.com/leat-go/leat/internal/lazy"
)

// What a flow sends is not given up with the claim that it came from, also where a span or a value is on the way; what
// may end before is looked at. Breaks if a rebalance fails what a traced flow has under way, whose messages then go out
// twice.
func TestWhichContextsMayEnd(t *testing.T) {
	type key struct{}
	inner, cancel := context.WithCancel(t.Context())
	defer cancel()
	claim := &claimContext{inner}
	child, stop := context.WithCancel(claim)
	defer stop()
	for name, x := range map[string]struct {
		ctx  context.Context
		want bool
	}{
		"none":                      {nil, false},
		"background":                {context.Background(), false},
		"without an end":            {context.WithoutCancel(inner), false},
		"a claim's":                 {claim, false},
		"a claim's with a value":    {context.WithValue(claim, key{}, 1), false},
		"within a claim's":          {child, true},
		"a delivery's":              {&lazy.Context{Context: claim}, true},
		"a delivery's with a value": {context.WithValue(&lazy.Context{Context: claim}, key{}, 1), true},
		"a caller's":                {inner, true},
	} {
		if got := mayEnd(x.ctx); got != x.want {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}
