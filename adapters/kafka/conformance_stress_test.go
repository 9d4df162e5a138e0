//go:build stress

package kafka_test

import (
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// stressed is how many suites run side by side: as many as in tests.TestPubSubStressTest.
const stressed = 10

// Watermill's own suite, many times at once against one broker. The build tag is Watermill's: it gives the
// suite more time. make soak runs it.
func TestWatermillStress(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered} {
		t.Run(order.String(), func(t *testing.T) {
			e := ends{unkilled(t), order, 1}
			tests.TestPubSubStressTest(t, features(order), e.alone, e.grouped)
		})
	}
	t.Run(adapters.Unordered.String(), func(t *testing.T) {
		addr := unkilled(t)
		for n := range stressed {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				unordered(t, addr)
			})
		}
	})
}

// unkilled is a broker of its own for as many topics as there will be. That of other tests counts as dead
// after a second, so that one that is killed is back soon; a machine as busy as this may be has it so at times.
func unkilled(t *testing.T) (addr string) {
	t.Helper()
	return kafkatest.OwnWith(t, kafkatest.Options{Properties: map[string]string{"broker.session.timeout.ms": "30000"}}).Addr()
}
