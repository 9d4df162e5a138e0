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
func TestWatermill(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered} {
		t.Run(order.String(), func(t *testing.T) {
			alone, grouped := ends(t, order)
			tests.TestPubSub(t, features(order), alone, grouped)
		})
	}
}

// TestWatermillUnordered is the suite without order: its tests one by one, but for the two that are
// about order and would skip themselves.
func TestWatermillUnordered(t *testing.T) {
	t.Parallel()
	alone, grouped := ends(t, adapters.Unordered)
	for name, test := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		"PublishSubscribe":                  tests.TestPublishSubscribe,
		"ConcurrentSubscribe":               tests.TestConcurrentSubscribe,
		"ConcurrentSubscribeMultipleTopics": tests.TestConcurrentSubscribeMultipleTopics,
		"ResendOnError":                     tests.TestResendOnError,
		"ContinueAfterSubscribeClose":       tests.TestContinueAfterSubscribeClose,
		"ConcurrentClose":                   tests.TestConcurrentClose,
		"ContinueAfterErrors":               tests.TestContinueAfterErrors,
		"PublisherClose":                    tests.TestPublisherClose,
		"Topic":                             tests.TestTopic,
		"MessageCtx":                        tests.TestMessageCtx,
		"SubscribeCtx":                      tests.TestSubscribeCtx,
		"ConsumerGroups": func(t *testing.T, c tests.TestContext, _ tests.PubSubConstructor) {
			tests.TestConsumerGroups(t, c, grouped)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: features(adapters.Unordered)}, alone)
		})
	}
}

func features(order adapters.Order) tests.Features {
	return tests.Features{ConsumerGroups: true, GuaranteedOrder: order != adapters.Unordered, Persistent: true}
}

// ends gives the constructors of the suite, over one broker.
func ends(t *testing.T, order adapters.Order) (tests.PubSubConstructor, tests.ConsumerGroupPubSubConstructor) {
	t.Helper()
	broker := &memory.Broker{
		Order: order, Bound: 20_000, DrainTimeout: time.Second,
		Backoff: memory.Backoff{Cap: 10 * time.Millisecond}, // one message is nacked 300 times
	}
	shutWith(t, broker) // the suite leaves subscribers open
	return func(*testing.T) (message.Publisher, message.Subscriber) {
			return broker.Publisher(), broker.Subscriber("suite")
		}, func(_ *testing.T, group string) (message.Publisher, message.Subscriber) {
			return broker.Publisher(), broker.Subscriber(group)
		}
}
