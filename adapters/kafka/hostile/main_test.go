package hostile_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) {
	kafkatest.Main(m,
		// The client leaves its breaker of a topic that does not exist to itself, for ten seconds.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"),
		// The proxy leaves goroutines behind of links that break while a fault comes or goes.
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"))
}
