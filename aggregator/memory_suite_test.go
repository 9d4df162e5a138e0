package aggregator_test

import (
	"testing"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/leattest"
)

func TestMemoryConforms(t *testing.T) {
	leattest.AggregatorStore(t, func(*testing.T) aggregator.Store { return &aggregator.Memory{} })
}
