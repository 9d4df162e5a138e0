package hostile_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/translator"
)

// A relay is a flow of two steps with a hop over the broker, each behind an idempotent receiver: whatever
// happens in between, every message is to be on both topics once and have its effect once.
type relay struct {
	t             *testing.T
	addr          string // that is never in trouble
	in, out, dead string
	books         leattest.Ledger
	effects       atomic.Int64
	pub           *kafka.Publisher
	handle        *flow.Handle
	stop          func()
}

// heartbeat is the interval at which a relay is heard by its group, and so the longest in which it asks nothing.
const heartbeat = 300 * time.Millisecond

// newRelay starts one that reaches the broker as the cluster says.
func newRelay(t *testing.T, addr string, c kafka.Cluster) *relay {
	t.Helper()
	r := &relay{t: t, addr: addr, in: kafkatest.Topic(t, addr, 4), out: kafkatest.Topic(t, addr, 4), dead: kafkatest.Topic(t, addr, 1)}
	r.pub = publisher(t, kafka.PublisherConfig{Cluster: c, SendTimeout: time.Minute})
	sub := subscriber(t, kafka.SubscriberConfig{Cluster: c, HeartbeatInterval: heartbeat})
	seen := &idempotency.Memory{}
	f := newFlow(t, "relay",
		flow.Step("copy", channel.Topic[string](r.in), translator.Map(func(s string) (string, error) { return s, nil }, channel.Topic[string](r.out))),
		flow.Step("note", channel.Topic[string](r.out), endpoint.Do(func(_ context.Context, s string) error {
			r.books.Effect(s)
			r.effects.Add(1)
			return nil
		})),
		flow.Around(idempotency.Receiver{Store: seen}),
		flow.Policy{Attempts: 3, DeadLetter: channel.Topic[[]byte](r.dead)},
		flow.Group(r.in))
	r.handle, r.stop = start(t, f, r.pub, sub)
	return r
}

// close waits for n effects and closes the books.
func (r *relay) close(seed uint64, n int) {
	r.t.Helper()
	until(r.t, time.Minute, "every message has had its effect", func() bool { return r.effects.Load() >= int64(n) })
	r.stop()
	r.books.Accounts(r.handle.Counts())
	for _, topic := range []string{r.in, r.out} {
		leave(r.t, &r.books, r.addr, r.in, topic)
		if got := once(r.t, r.addr, topic); got != n {
			r.t.Errorf("topic %s has %d messages, want %d", topic, got, n)
		}
	}
	for _, l := range read(r.t, r.addr, r.dead) {
		r.books.DeadLetter(l.id())
	}
	r.books.Check(r.t, seed)
}
