package kafka

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/internal/subscription"
	"github.com/leat-go/leat/tracing"
)

// A tally is what is counted of a subscriber: docs/tracing.md, under eip.reader. It is observed from when there
// is somebody to see it, which is looked for with every session.
type tally struct {
	telemetry *tracing.Telemetry
	group     string

	rebalances, redelivered, letters, parked atomic.Int64

	mu     sync.Mutex
	claims map[*claim]struct{}
	stop   func() // nil: nobody observes
	closed bool
}

func newTally(c *SubscriberConfig) *tally {
	return &tally{telemetry: tracing.New(c.Telemetry, system), group: c.Group, claims: map[*claim]struct{}{}}
}

func (t *tally) rebalanced() { t.rebalances.Add(1) }

func (t *tally) claimed(c *claim) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims[c] = struct{}{}
	if m := t.telemetry.Meter(); m != nil && t.stop == nil && !t.closed {
		t.stop = m.Reader(tracing.Reader{Group: t.group, Topics: t.topics, Counts: t.counts})
	}
}

func (t *tally) released(c *claim) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.claims, c)
}

func (t *tally) close() {
	t.mu.Lock()
	stop := t.stop
	t.stop, t.closed = nil, true
	t.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// events are what a plain subscription tells.
func (t *tally) events() subscription.Events {
	count := func(n *atomic.Int64) func(adapters.Claim, *adapters.Record) {
		return func(adapters.Claim, *adapters.Record) { n.Add(1) }
	}
	return subscription.Events{Redelivered: count(&t.redelivered), DeadLettered: count(&t.letters), Parked: count(&t.parked)}
}

func (t *tally) counts() tracing.ReaderCounts {
	return tracing.ReaderCounts{
		Rebalances: t.rebalances.Load(), Redelivered: t.redelivered.Load(), DeadLetters: t.letters.Load(), Parked: t.parked.Load(),
	}
}

// topics adds up the claims of each topic.
func (t *tally) topics() (all []tracing.ReaderTopic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := map[string]int{}
	for c := range t.claims {
		i, ok := at[c.topic]
		if !ok {
			i = len(all)
			at[c.topic] = i
			all = append(all, tracing.ReaderTopic{Topic: c.topic})
		}
		x := &all[i]
		out, age := c.out()
		x.Partitions++
		x.InFlight += out
		x.Oldest = max(x.Oldest, age)
		x.Lag += c.lag()
	}
	return all
}

// out is how many records are out, about, and for how long the oldest has been.
func (c *claim) out() (n int64, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n = int64(c.progress.next - c.progress.base); n > 0 { //nolint:gosec // At most a window.
		age = time.Since(c.oldest)
	}
	return n, age
}
