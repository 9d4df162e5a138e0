package faults_test

import (
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F1: consumers are killed in the middle of their work. What they had is worked on again within 15 s, nothing is lost, no
// key is inverted, and what is repeated is at most the windows of the partitions that the victims had, and told as
// redelivered. Breaks if a victim's partitions rest while the others go on.
func TestF1(t *testing.T) {
	rng, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	n, kills := of(3000, 20_000), of(3, 20)
	const partitions, consumers, keys, batch = 4, 2, 200, 50
	p := newPlace(t, addr, partitions, seed)
	p.Window = 50
	group := []*consumer{p.start(t), p.start(t)}
	published, halt := p.load(t, batch, keys)
	met, worst := 0, time.Duration(0)
	for range kills {
		i := rng.IntN(consumers)
		victim := group[i]
		goal := p.look(t).takenBy(victim) + 1 + rng.IntN(200)
		until(t, time.Minute, "the victim works", func() bool { return p.look(t).takenBy(victim) >= goal })
		victim.kill()
		killed, before := time.Now(), p.look(t)
		if before.inHand(victim) > 0 {
			met++
		}
		orphans := before.keysOf(victim)
		group[i] = p.start(t)
		until(t, 15*time.Second, "every key that the victim had is worked on again", func() bool {
			for _, d := range p.look(t).done[len(before.done):] {
				delete(orphans, d.Key)
			}
			return len(orphans) == 0
		})
		worst = max(worst, time.Since(killed))
	}
	until(t, 5*time.Minute, "there has been load enough", func() bool { return int(published.Load()) >= n })
	halt()
	until(t, time.Minute, "everything has its effect", func() bool { return p.look(t).different == int(published.Load()) })
	// What a victim had worked on and not committed comes again, perhaps after all else.
	until(t, time.Minute, "everything is committed", func() bool { return p.left(t) == 0 })
	for _, c := range group {
		c.stop(t)
	}
	if met == 0 {
		t.Errorf("none of %d kills found anything in flight", kills)
	}
	effects := p.look(t).done
	repeats := p.book(effects)
	most := kills * p.Window * partitions // a victim may have had them all
	if repeats > most {
		t.Errorf("%d effects were repeated, more than the window of %d for each of the %d partitions at %d kills", repeats, p.Window, partitions, kills)
	}
	told, untold := redelivered(effects)
	for _, d := range untold {
		t.Errorf("it is a repeat and was not told as redelivered: %+v", d)
	}
	if told > most {
		t.Errorf("%d were told as redelivered, more than the windows of the victims' partitions", told)
	}
	if left := p.left(t); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	p.deadLetters(t)
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d kills, %d with something in flight: %d repeated, %d told as redelivered; at most %v until all that a victim had was worked on again. %s",
		published.Load(), kills, met, repeats, told, worst.Round(time.Millisecond), leattest.Replay(t, seed))
}
