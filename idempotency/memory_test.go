package idempotency_test

import (
	"testing"

	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

func TestMemoryConforms(t *testing.T) {
	leattest.IdempotencyStore(t, func(*testing.T) idempotency.Store { return &idempotency.Memory{} })
}
