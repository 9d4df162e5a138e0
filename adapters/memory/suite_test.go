package memory_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Watermill's own suite. Every constructor call gives new ends of one broker. The tests that skip
// themselves, and no others:
//
//	TestReconnect: there is no connection
//	TestNewSubscriberReceivesOldMessages: what every group has read is gone
//
// In Unordered mode TestPublishSubscribeInOrder and TestNoAck skip too: they test order.
func TestWatermill(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		t.Run(order.String(), func(t *testing.T) {
			broker := &memory.Broker{
				Order: order, Bound: 20_000, DrainTimeout: time.Second,
				Backoff: memory.Backoff{Cap: 10 * time.Millisecond}, // one message is nacked 300 times
			}
			shutWith(t, broker) // the suite leaves subscribers open
			tests.TestPubSub(t,
				tests.Features{
					ConsumerGroups:  true,
					GuaranteedOrder: order != adapters.Unordered,
					Persistent:      true,
				},
				func(*testing.T) (message.Publisher, message.Subscriber) {
					return broker.Publisher(), broker.Subscriber("suite")
				},
				func(_ *testing.T, group string) (message.Publisher, message.Subscriber) {
					return broker.Publisher(), broker.Subscriber(group)
				},
			)
		})
	}
}
