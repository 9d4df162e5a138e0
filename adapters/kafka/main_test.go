package kafka_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) {
	// The client leaves its breaker of a topic that does not exist to itself, for ten seconds.
	kafkatest.Main(m, goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}
