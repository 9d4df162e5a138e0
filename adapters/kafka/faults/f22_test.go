package faults_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F22: a rolling restart under load. Every process finishes what it has in flight, and no context ends before, so nothing is repeated,
// nothing is told as redelivered, nothing is lost, and nothing healthy is dead.
func TestF22(t *testing.T) {
	_, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	restarts := of(3, 20)
	const partitions, keys, batch, behind = 4, 200, 50, 500
	p := newPlace(t, addr, partitions)
	group := []*consumer{p.start(t), p.start(t)}
	var published atomic.Int64
	ctx, halt := context.WithCancel(t.Context())
	halted := make(chan struct{})
	go func() { // the load, until the last restart: as much as the group bears
		defer close(halted)
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for ; ctx.Err() == nil; <-pace.C {
			if n := int(published.Load()); n-len(p.effects(t)) < behind {
				p.insist(t, parcels(n, batch, keys))
				published.Add(batch)
			}
		}
	}()
	for i := range restarts {
		before := len(p.effects(t))
		until(t, time.Minute, "effects go on", func() bool { return len(p.effects(t)) >= before+behind/2 })
		group[i%2].stop(t)
		group[i%2] = p.start(t)
	}
	halt()
	<-halted
	until(t, time.Minute, "everything has its effect", func() bool { return different(p.effects(t)) == int(published.Load()) })
	for _, c := range group {
		c.stop(t)
	}
	lines := p.effects(t)
	if repeats := p.book(lines); repeats != 0 {
		t.Errorf("%d effects were repeated", repeats)
	}
	for _, line := range lines {
		if strings.Fields(line)[4] != "false" {
			t.Errorf("its context ended while it was worked on: %s", line)
		}
	}
	if told, _ := redelivered(lines); told != 0 {
		t.Errorf("%d were told as redelivered", told)
	}
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.deadLetters(t)
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d restarts. %s", published.Load(), restarts, leattest.Replay(t, seed))
}
