package faults_test

import (
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F1: consumers are killed in the middle of their work. Nothing is lost, no key is inverted, and what is
// repeated is at most the windows of the partitions that the victims had, and told as redelivered.
func TestF1(t *testing.T) {
	rng, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	n, kills := of(3000, 20_000), of(3, 20)
	const partitions, consumers = 4, 2
	p := newPlace(t, addr, partitions)
	p.Window = 50
	ps := parcels(0, n, 200)
	group := []*consumer{p.start(t), p.start(t)}
	published, worst := 0, time.Duration(0)
	for kill := range kills {
		more := (n - published) / (kills - kill)
		p.publish(t, ps[published:published+more])
		published += more
		goal := published - 1 - rng.IntN(more) // in the middle of what was just published
		until(t, time.Minute, "effects go on", func() bool { return different(p.effects(t)) >= goal })
		victim := rng.IntN(consumers)
		group[victim].kill()
		killed, before := time.Now(), different(p.effects(t))
		group[victim] = p.start(t)
		until(t, 15*time.Second, "the group goes on after a kill", func() bool {
			now := different(p.effects(t))
			return now > before || now == published
		})
		worst = max(worst, time.Since(killed))
	}
	until(t, time.Minute, "everything has its effect", func() bool { return different(p.effects(t)) == len(ps) })
	// What a victim had worked on and not committed comes again, perhaps after all else.
	until(t, time.Minute, "everything is committed", func() bool { return p.left(t) == 0 })
	for _, c := range group {
		c.stop(t)
	}
	lines := p.effects(t)
	repeats := p.book(lines)
	most := kills * p.Window * partitions // a victim may have had them all
	if repeats > most {
		t.Errorf("%d effects were repeated, more than the window of %d for each of the %d partitions at %d kills", repeats, p.Window, partitions, kills)
	}
	told, untold := redelivered(lines)
	for _, line := range untold {
		t.Errorf("it is a repeat and was not told as redelivered: %s", line)
	}
	if told > most {
		t.Errorf("%d were told as redelivered, more than the windows of the victims' partitions", told)
	}
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.deadLetters(t)
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d kills: %d repeated, %d told as redelivered; at most %v until somebody went on. %s", len(ps), kills, repeats, told, worst.Round(time.Millisecond), leattest.Replay(t, seed))
}
