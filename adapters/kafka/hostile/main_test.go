package hostile_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) {
	kafkatest.Main(m,
		// The client leaves its breaker of a topic that does not exist to itself, for ten seconds.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}
