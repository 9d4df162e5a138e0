package hostile_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/leat-go/leat/internal/kafkatest"
)

// F4: leaders and coordinators move every 200 ms. Nothing is on a log twice.
func TestMovingLeaders(t *testing.T) {
	const brokers = 3
	rnd, seed := random(t)
	fake := kafkatest.Fake(t, kfake.NumBrokers(brokers))
	addr := kafkatest.Addr(fake)
	r := newRelay(t, addr, quiet(addr))

	var moves atomic.Int64
	stop := every(200*time.Millisecond, func() {
		for _, topic := range []string{r.in, r.out} {
			for _, p := range fake.PartitionInfos(topic) {
				if err := fake.MoveTopicPartition(topic, p.Partition, rnd.Int32N(brokers)); err != nil {
					t.Error(err)
				}
			}
		}
		fake.RehashCoordinators()
		moves.Add(1)
	})
	defer stop()
	n := 0
	for round := 0; moves.Load() < of[int64](20, 600); round++ {
		ms := notes(fmt.Sprint("round-", round), 100, 20)
		publish(t, &r.books, r.pub, r.in, ms...)
		n += len(ms)
		<-time.NewTimer(10 * time.Millisecond).C
	}
	stop()
	r.close(seed, n)
	t.Logf("%d messages, %d moves", n, moves.Load())
}
