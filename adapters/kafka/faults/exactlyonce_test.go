package faults_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// Exactly once: relays are killed in the middle of their transactions. On the topic they write to, every
// message is there once, in the order of its key, for whoever reads what is committed, and none is dead.
func TestExactlyOnce(t *testing.T) {
	rng, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	n, kills := of(5000, 50_000), of(3, 20)
	const partitions, relays = 4, 2
	p := newPlace(t, addr, partitions, seed)
	p.Out = kafkatest.Topic(t, addr, partitions)
	ps := parcels(0, n, 500)
	p.publish(t, ps[:n/4])
	group := make([]*consumer, relays)
	start := func(i int) {
		j := p.job
		j.Instance = []string{"a", "b"}[i]
		group[i] = j.start(t)
	}
	for i := range group {
		start(i)
	}
	published := n / 4
	for kill := range kills {
		more := (n - published) / (kills - kill)
		p.publish(t, ps[published:published+more])
		published += more
		goal := int64(published - rng.IntN(more)) // in the middle of what was just published
		until(t, time.Minute, "the group goes on", func() bool { return int64(published)-p.left(t) >= goal-int64(more) })
		victim := rng.IntN(relays)
		group[victim].kill()
		start(victim)
	}
	p.publish(t, ps[published:])
	until(t, 2*time.Minute, "everything is relayed", func() bool { return p.left(t) == 0 })
	for _, c := range group {
		c.stop(t)
	}
	came := 0
	for r := range committed(t, addr, p.Out) {
		var x parcel // the id is of the relay's making
		if err := json.Unmarshal(r.Payload, &x); err != nil {
			t.Fatal(err)
		}
		p.ledger.Effect(x.ID)
		came++
	}
	if came != n {
		t.Errorf("%d messages are on the topic, want %d", came, n)
	}
	p.deadLetters(t)
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d kills, %d on the topic. %s", n, kills, came, leattest.Replay(t, seed))
}
