package subscription

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
)

// While its topic is paused nothing of a claim is offered, neither the next nor what comes again; what is in flight is finished;
// and all goes on when it is resumed. Breaks if a pause lets something through, holds up an acknowledgement, or is forgotten by a
// claim that begins during it.
func TestGate(t *testing.T) {
	for name, topics := range map[string][]string{"by name": {"orders"}, "all": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &Gate{}
				r := deliver(t, Config{Backoff: short, Gate: g}, claimOf(adapters.KeyOrdered, rec("a.1", "b.1", "c.1", "a.2")...))
				a, b := <-r.out, <-r.out
				g.Pause(topics...)
				r.none(t)
				a.Ack()
				b.Nack()
				pass(time.Hour)
				r.none(t)
				r.claim.did(t, "a.1", "")
				later := deliver(t, Config{Backoff: short, Gate: g}, claimOf(adapters.KeyOrdered, rec("d.1")...))
				later.none(t)
				g.Resume("returns")
				r.none(t)
				g.Resume(topics...)
				for _, m := range r.get(t, "c.1", "a.2", "b.1") {
					m.Ack()
					synctest.Wait()
				}
				later.next(t, "d.1").Ack()
				r.claim.did(t, "a.1 c.1 a.2 b.1", "")
			})
		})
	}
}

// A pause of another topic is none, and one does not keep a claim from ending: what waits is given back.
func TestGateAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Gate{}
		r := deliver(t, Config{Gate: g}, claimOf(adapters.KeyOrdered, rec("a.1", "b.1")...))
		g.Pause("returns")
		(<-r.out).Ack()
		g.Pause()
		synctest.Wait()
		r.stop()
		r.over(t, true)
		r.claim.did(t, "a.1", "b.1")
		if len(g.deliveries) != 0 {
			t.Error("the gate remembers a claim that ended")
		}
	})
}
