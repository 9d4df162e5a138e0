package hostile_test

import (
	"fmt"
	"testing"
	"time"
)

// F8: connections stay open and nothing comes through, in one direction or in both. It is noticed and logged within the
// read timeout of the first request that is not answered, once as it begins and once as it ends, and nothing is lost or there
// twice. Breaks if the client is left to tell of it, which it does many read timeouts later.
func TestHalfOpen(t *testing.T) {
	const readTimeout = time.Second
	// What was sent just before is answered still, and a heartbeat later there is a request that is not. The rest is for a
	// machine that is busy.
	const soon = readTimeout + heartbeat + time.Second
	for name, streams := range map[string][]string{"both ways": {"upstream", "downstream"}, "answers": {"downstream"}, "requests": {"upstream"}} {
		t.Run(name, func(t *testing.T) {
			_, seed := random(t)
			addr := broker(t)
			w := newWire(t, addr)
			r := newRelay(t, addr, w.cluster(addr, readTimeout))
			n, rounds := 0, of(1, 10)
			for round := range rounds {
				publish(t, &r.books, r.pub, r.in, notes(fmt.Sprint("before-", round), 100, 20)...)
				n += 100
				until(t, time.Minute, "all is well", func() bool { return r.effects.Load() == int64(n) && w.calm() })
				before := len(w.log.all())
				heal := w.fault("timeout", map[string]any{"timeout": 0}, streams...)
				defer heal()
				begun := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					publish(t, &r.books, r.pub, r.in, notes(fmt.Sprint("during-", round), 100, 20)...)
				}()
				n += 100
				until(t, soon, "the connection counts as dead", func() bool { return w.dialled(begun) })
				noticed := time.Since(begun)
				until(t, soon-noticed, "the trouble is logged", func() bool { return len(w.log.all()) > before })
				logged := time.Since(begun)
				heal()
				healed := time.Now()
				<-sent
				until(t, time.Minute, "all is well again", func() bool { return r.effects.Load() == int64(n) })
				t.Logf("noticed after %v, logged after %v, well %v after the end", noticed, logged, time.Since(healed))
				until(t, time.Minute, "that is logged", w.calm)
				w.twoLines(before)
			}
			r.close(seed, n)
		})
	}
}
