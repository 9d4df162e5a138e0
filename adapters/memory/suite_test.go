package memory_test

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"go.uber.org/goleak"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/leattest"
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

// The project's own suite, in each order that its subtests ask for.
func TestAdapter(t *testing.T) {
	leattest.Adapter(t, leattest.AdapterSpec{
		Virtual: true,
		Open: func(t *testing.T, s leattest.AdapterSettings) leattest.AdapterEnv {
			t.Helper()
			broker := &memory.Broker{Order: s.Order, Window: s.Window, DrainTimeout: s.Drain}
			shutWith(t, broker)
			out := &outage{}
			var topic func(int) string
			if strings.Contains(t.Name(), "follow") { // a kept topic has its name from the broker
				broker.Keep = []string{"kept-1", "kept-2", "kept-3"}
				more, stop := iter.Pull(slices.Values(broker.Keep))
				t.Cleanup(stop)
				topic = func(int) string {
					name, ok := more()
					if !ok {
						t.Fatal("more topics than the broker keeps")
					}
					return name
				}
			}
			return leattest.AdapterEnv{
				Topic:      topic,
				Publisher:  func() message.Publisher { return failing{broker.Publisher(), out} },
				Subscriber: func(r leattest.AdapterReader) message.Subscriber { return broker.Subscriber(r.Group) },
				Crash:      func(s message.Subscriber) { go func() { _ = s.Close() }() },
				Outage:     out.set,
				Again:      func(m *message.Message) int { return memory.Again(m.Context()) },
			}
		},
		Without: []string{
			"dead letter", "dead letter down", "foreign record, dead letter", // there is a flow's
			"foreign record", "flow, foreign record", // what is published is a message
			"reconnect", "heap", // the broker is in the process
			"topics made", "topics missing", // a topic is there when somebody says its name
		},
	})
}

var errOutage = errors.New("the topic is down")

// An outage is of some topics.
type outage struct {
	mu   sync.Mutex
	down map[string]bool
}

func (o *outage) set(topic string, down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down == nil {
		o.down = map[string]bool{}
	}
	o.down[topic] = down
}

func (o *outage) is(topic string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down[topic]
}

// failing is a Publisher whose publishes to a topic that is down fail.
type failing struct {
	*memory.Publisher
	out *outage
}

func (f failing) Publish(topic string, ms ...*message.Message) error {
	if f.out.is(topic) {
		return errOutage
	}
	return f.Publisher.Publish(topic, ms...)
}

func (f failing) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	var up, down []*adapters.Outgoing
	for _, o := range outs {
		if f.out.is(o.Topic) {
			o.Err = errOutage
			down = append(down, o)
			continue
		}
		up = append(up, o)
	}
	f.Publisher.Send(up, done)
	done(down)
}
