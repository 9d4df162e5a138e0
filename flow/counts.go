package flow

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/leat-go/leat/channel"
)

// Counts is the accounting of one step since the flow was made. Every message received is under
// exactly one heading:
//
//	Received = Sent + Done + Held + Dropped + Invalid + Expired + Dead + InFlight
//
// Held messages come out of the store later: Held = Released + those that still wait there.
type Counts struct {
	Received int64
	Sent     int64
	Done     int64
	Held     int64
	Dropped  map[string]int64 // by reason: the first 64, the rest under OtherReasons
	Invalid  int64
	Expired  int64
	Dead     int64
	InFlight int64
	Released int64 // held before, gone from the store since

	// Beside it, counted per event:
	Retries    int64 // attempts after the first
	Later      int64 // pauses that were nobody's fault
	Returned   int64 // given back unfinished; not in Received
	Again      int64 // received that were delivered before
	Fired      int64 // due keys of clocks
	BestEffort int64 // deliveries that were lost and might be
}

// DroppedAll sums Dropped.
func (c Counts) DroppedAll() (n int64) {
	for _, k := range c.Dropped {
		n += k
	}
	return n
}

// Balanced reports whether every message received is under exactly one heading.
func (c Counts) Balanced() bool {
	return c.Received == c.Sent+c.Done+c.Held+c.DroppedAll()+c.Invalid+c.Expired+c.Dead+c.InFlight
}

// String gives the headings that are not zero, in one line.
func (c Counts) String() string {
	var b strings.Builder
	put := func(name string, n int64) {
		if n != 0 || name == "received" {
			fmt.Fprintf(&b, " %s=%d", name, n)
		}
	}
	put("received", c.Received)
	put("sent", c.Sent)
	put("done", c.Done)
	put("held", c.Held)
	for _, reason := range slices.Sorted(maps.Keys(c.Dropped)) {
		put("dropped("+reason+")", c.Dropped[reason])
	}
	put("invalid", c.Invalid)
	put("expired", c.Expired)
	put("dead", c.Dead)
	put("in flight", c.InFlight)
	put("released", c.Released)
	put("retries", c.Retries)
	put("later", c.Later)
	put("returned", c.Returned)
	put("again", c.Again)
	put("fired", c.Fired)
	return strings.TrimPrefix(b.String(), " ")
}

// counters are a step's counts as they grow.
type counters struct {
	received, inFlight, released                       atomic.Int64 // received with those given back since
	retries, later, returned, again, fired, bestEffort atomic.Int64
	outcomes                                           [channel.Streamed + 1]atomic.Int64
	mu                                                 sync.Mutex
	dropped                                            map[string]int64
}

// A tally is what a message came to at a step.
type tally struct {
	step     *step
	released int
	outcome  channel.Outcome // Unsaid: none
	reason   string          // if Dropped
}

func tallyOf(s *step, r *channel.Result) tally {
	t := tally{step: s, outcome: r.Outcome(), released: r.Released()}
	if t.outcome == channel.Dropped {
		t.reason = r.Reason()
	}
	return t
}

// count adds it to what the step has come to, and to what it has received, if it did so over a direct hop. It is
// called when the message is settled: an attempt that fails leaves no trace.
func (t *tally) count(direct bool) {
	c := &t.step.counts
	if direct {
		c.received.Add(1)
	}
	if t.released != 0 {
		c.released.Add(int64(t.released))
	}
	if t.outcome == channel.Unsaid {
		return
	}
	c.outcomes[t.outcome].Add(1)
	if t.outcome == channel.Dropped {
		c.drop(t.reason)
	}
}

// at counts what it came to where it arrived: of a clock's, which is no message, only what was released.
func (t *tally) at(clock bool) {
	if clock {
		t.outcome = channel.Unsaid
	}
	t.count(false)
}

func (c *counters) drop(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dropped == nil {
		c.dropped = map[string]int64{}
	}
	if _, known := c.dropped[reason]; !known && len(c.dropped) >= maxReasons {
		reason = OtherReasons
	}
	c.dropped[reason]++
}

// maxReasons is how many reasons a step tells apart: one that has an id in it must not grow without end.
const maxReasons = 64

// OtherReasons is what messages are counted under that were dropped for more than 64 different reasons:
// a reason says why, not which.
const OtherReasons = "other reasons"

func (c *counters) read() Counts {
	returned := c.returned.Load() // before received, which is never less
	out := Counts{
		InFlight: c.inFlight.Load(),
		Sent:     c.outcomes[channel.Sent].Load(), Done: c.outcomes[channel.Finished].Load(),
		Held: c.outcomes[channel.Held].Load(), Invalid: c.outcomes[channel.Invalid].Load(),
		Expired: c.outcomes[channel.Expired].Load(), Dead: c.outcomes[channel.Buried].Load(),
		Received: c.received.Load() - returned, Released: c.released.Load(),
		Retries: c.retries.Load(), Later: c.later.Load(), Returned: returned,
		Again: c.again.Load(), Fired: c.fired.Load(), BestEffort: c.bestEffort.Load(),
	}
	c.mu.Lock()
	out.Dropped = maps.Clone(c.dropped)
	c.mu.Unlock()
	return out
}

// Counts gives the accounting of every step, by its name. At rest each is Balanced with InFlight 0.
func (f *Flow) Counts() map[string]Counts {
	all := make(map[string]Counts, len(f.steps))
	for _, s := range f.steps {
		all[s.name] = s.counts.read()
	}
	return all
}
