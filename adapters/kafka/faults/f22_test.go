package faults_test

import (
	"slices"
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F22: a rolling restart under load. Every process finishes what it has in flight, and no context ends before, so
// nothing is repeated, nothing is told as redelivered, nothing is lost, and nothing healthy is dead. Breaks if a process
// that is to stop, or one whose partitions move, ends the contexts of what it works on: it has 5 s (DrainTimeout), and
// no work takes a tenth of that.
func TestF22(t *testing.T) {
	_, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	restarts := of(3, 20)
	const partitions, keys, batch, more = 4, 200, 50, 250
	p := newPlace(t, addr, partitions, seed)
	group := []*consumer{p.start(t), p.start(t)}
	published, halt := p.load(t, batch, keys)
	inHand := 0
	for i := range restarts {
		next := group[i%2]
		before := p.look(t).takenBy(next)
		until(t, time.Minute, "the process that is to stop works", func() bool { return p.look(t).takenBy(next) >= before+more })
		inHand += p.look(t).inHand(next)
		next.stop(t)
		group[i%2] = p.start(t)
	}
	halt()
	until(t, time.Minute, "everything has its effect", func() bool { return p.look(t).different == int(published.Load()) })
	for _, c := range group {
		c.stop(t)
	}
	effects := p.look(t).done
	if inHand == 0 {
		t.Error("no process that was asked to stop had anything in flight")
	}
	if ended := slices.DeleteFunc(slices.Clone(effects), func(d deed) bool { return d.Ended == "" }); len(ended) > 0 {
		t.Errorf("of %d messages the context ended while they were worked on; the first is %+v", len(ended), ended[0])
	}
	if repeats := p.book(effects); repeats != 0 {
		t.Errorf("%d effects were repeated", repeats)
	}
	if told, _ := redelivered(effects); told != 0 {
		t.Errorf("%d were told as redelivered", told)
	}
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.deadLetters(t)
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d restarts with %d in flight. %s", published.Load(), restarts, inHand, leattest.Replay(t, seed))
}
