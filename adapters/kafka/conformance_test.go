package kafka_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// Watermill's own suite, against a real broker. The suite sets no keys, and wants the order of a topic: each
// has one partition. TestReconnect skips itself here, and runs in make soak (conformance_reconnect_test.go).
func TestWatermill(t *testing.T) {
	addr := kafkatest.Shared(t).Addr()
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered} {
		t.Run(order.String(), func(t *testing.T) {
			e := ends{addr, order, 1}
			tests.TestPubSub(t, features(order), e.alone, e.grouped)
		})
	}
}

// TestWatermillUnordered is the suite without order, over topics of several partitions: its tests one by
// one, but for the two that are about order and would skip themselves.
func TestWatermillUnordered(t *testing.T) {
	t.Parallel()
	unordered(t, kafkatest.Shared(t).Addr())
}

func unordered(t *testing.T, addr string) {
	t.Helper()
	e := ends{addr, adapters.Unordered, 4}
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
		oldMessages:                         tests.TestNewSubscriberReceivesOldMessages,
		"ConsumerGroups": func(t *testing.T, c tests.TestContext, _ tests.PubSubConstructor) {
			tests.TestConsumerGroups(t, c, e.grouped)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: features(adapters.Unordered)}, e.alone)
		})
	}
}

func features(order adapters.Order) tests.Features {
	return tests.Features{
		ConsumerGroups: true, GuaranteedOrder: order != adapters.Unordered, Persistent: true, NewSubscriberReceivesOldMessages: true,
	}
}

// oldMessages is the test in which every new subscriber sees all there ever was: that is one without a group.
const oldMessages = "NewSubscriberReceivesOldMessages"

// ends are the constructors of the suite, over one broker. The suite leaves some open: each test closes its
// own.
type ends struct {
	addr       string
	order      adapters.Order
	partitions int
}

// alone gives each test a group of its own: members of one group that read different topics would stop each
// other in every rebalance.
func (e ends) alone(t *testing.T) (message.Publisher, message.Subscriber) {
	t.Helper()
	if strings.Contains(t.Name(), oldMessages) {
		return e.grouped(t, "")
	}
	return e.grouped(t, t.Name())
}

func (e ends) grouped(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	t.Helper()
	create := &kafka.Create{Partitions: e.partitions, Replication: 1}
	return publisher(t, kafka.PublisherConfig{Cluster: cluster(e.addr), Create: create}),
		subscriber(t, kafka.SubscriberConfig{
			Cluster: cluster(e.addr), Group: group, Order: e.order, Create: create,
			Backoff:      kafka.Backoff{Base: time.Millisecond, Cap: 50 * time.Millisecond}, // one message is nacked 300 times
			DrainTimeout: 2 * time.Second,                                                   // some tests close what has a message in flight
			// A member hears of a rebalance with its heartbeat, and up to 50 join one after another.
			SessionTimeout: 6 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
		})
}
