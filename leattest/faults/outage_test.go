package faults_test

import (
	"sync"
	"time"
)

// outages are times when something cannot be reached. They are safe for concurrent use.
type outages struct {
	mu    sync.Mutex
	from  []time.Time
	until []time.Time
}

// plan adds outages, each of least and up to as long again, with as much time between them.
func (o *outages) plan(w *world, n int, least time.Duration) {
	at := time.Now()
	for range n {
		at = at.Add(time.Second + w.any(least))
		o.from = append(o.from, at)
		at = at.Add(least + w.any(least))
		o.until = append(o.until, at)
	}
}

func (o *outages) down() bool {
	t := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range o.from {
		if !t.Before(o.from[i]) && t.Before(o.until[i]) {
			return true
		}
	}
	return false
}

// any is a time up to d, whole milliseconds and one more microsecond: nothing else happens then.
func (w *world) any(d time.Duration) time.Duration {
	return time.Duration(w.rnd.IntN(int(d/time.Millisecond)))*time.Millisecond + time.Microsecond
}

// through publishes with next all along, once each pause, and sees that what waited goes on after every
// outage: the first of it at most 3 s later. Moved counts what has, and says whether
// anything waits.
func (o *outages) through(w *world, pause time.Duration, next func(), moved func() (n int64, waits bool)) {
	for i := range o.from {
		for time.Now().Before(o.until[i]) {
			next()
			pass(min(pause, time.Until(o.until[i])))
		}
		before, waits := moved()
		pass(3 * time.Second)
		if after, _ := moved(); waits && after == before {
			w.ledger.wrong(slow, "nothing has moved 3 s after outage %d", i)
		}
	}
}
