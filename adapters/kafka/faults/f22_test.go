package faults_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F22: a rolling restart under load. Every process finishes what it has in flight, so nothing is repeated,
// nothing is told as redelivered, nothing is lost, and nothing healthy is dead.
func TestF22(t *testing.T) {
	_, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	restarts := of(3, 20)
	const partitions, chunk = 4, 500
	p := newPlace(t, addr, partitions)
	ps := parcels((restarts+2)*chunk*4, 200)
	group := []*consumer{p.start(t), p.start(t)}
	var published atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the load
		defer close(stopped)
		for rest := ps; len(rest) > 0; {
			select {
			case <-stop:
				return
			default:
			}
			p.publish(t, rest[:chunk/10])
			published.Add(chunk / 10)
			rest = rest[chunk/10:]
			until(t, time.Minute, "the group keeps up", func() bool { return int(published.Load())-len(p.effects(t)) < chunk })
		}
	}()
	for i := range restarts {
		before := len(p.effects(t))
		until(t, time.Minute, "effects go on", func() bool { return len(p.effects(t)) >= before+chunk/2 })
		group[i%2].stop(t)
		group[i%2] = p.start(t)
	}
	close(stop)
	<-stopped
	until(t, time.Minute, "everything has its effect", func() bool { return different(p.effects(t)) == int(published.Load()) })
	for _, c := range group {
		c.stop(t)
	}
	lines := p.effects(t)
	if repeats := p.book(lines); repeats != 0 {
		t.Errorf("%d effects were repeated", repeats)
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
