package hostile_test

import (
	"fmt"
	"testing"
	"time"
)

// F10: for a while every connection is reset, again and again. Nothing is lost, and nothing is there twice; the log has
// a line as trouble begins and one as it ends.
func TestResetStorm(t *testing.T) {
	rnd, seed := random(t)
	addr := broker(t)
	w := newWire(t, addr)
	r := newRelay(t, addr, w.cluster(addr, 5*time.Second))
	n, resets := 0, 0
	for round := range of(3, 50) {
		publish(t, &r.books, r.pub, r.in, notes(fmt.Sprint("before-", round), 100, 20)...)
		n += 100
		until(t, time.Minute, "all is well", func() bool { return r.effects.Load() == int64(n) })
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for batch := range 10 {
				publish(t, &r.books, r.pub, r.in, notes(fmt.Sprintf("during-%d-%d", round, batch), 50, 20)...)
			}
		}()
		n += 500
		begun := time.Now()
		for time.Since(begun) < time.Second {
			heal := w.fault("reset_peer", map[string]any{"timeout": rnd.IntN(20)}, "upstream", "downstream")
			<-time.NewTimer(time.Duration(rnd.IntN(50)) * time.Millisecond).C
			heal()
			resets++
			<-time.NewTimer(time.Duration(rnd.IntN(100)) * time.Millisecond).C
		}
		<-sent
		until(t, time.Minute, "all is well again", func() bool { return r.effects.Load() == int64(n) })
	}
	until(t, time.Minute, "the end of the last trouble is logged", w.inPairs)
	// What was finished of a lost partition, and not committed, comes once more.
	until(t, time.Minute, "that is finished, too", func() bool { return left(t, addr, r.in, r.in) == 0 && left(t, addr, r.in, r.out) == 0 })
	r.close(seed, n)
	t.Logf("%d messages, %d times every connection was reset, %d lines in the log", n, resets, len(w.log.all()))
}
