package kafka_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/internal/kafkatest"
)

func TestMain(m *testing.M) {
	kafkatest.Main(m,
		// The client leaves its breaker of a topic that does not exist to itself, for ten seconds.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"),
		// Watermill's suite leaves behind what waits for its channels: messages that come once more after
		// its test has seen all, and the list of what TestReconnect has sent.
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func2"),
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe.func3"),
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/pubsub/tests.TestReconnect.func2"))
}
