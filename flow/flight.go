package flow

import (
	"slices"

	"github.com/leat-go/leat/adapters"
)

// A flight is a message whose sends are under way and that needs nothing but to be finished when they are through:
// what is left of its work, which is used for the next one at once. Thousands are under way over a broker, and a work
// is kilobytes: what does not stay in the processor's cache costs more than all that is computed. So flights lie one
// behind the other, too, and none is used again: those that come back are scattered, and no longer in the cache.
type flight struct {
	in   *inlet
	rec  *adapters.Record
	seq  uint64
	left int // of outs, under way; by the lane's mu
	outs []*adapters.Outgoing
	came []tally // at its own step first, then at those behind direct hops

	one struct { // room for one of each
		out  adapters.Outgoing
		outs [1]*adapters.Outgoing
		came [1]tally
	}
}

// fleet is how many flights are made at once.
const fleet = 64

// takesOff turns a work whose outs are to be sent into a flight, if that is all it needs.
func (l *lane) takesOff(w *work) (*flight, bool) {
	if w.holds || w.tries != 1 || w.laters > 0 || w.pubFails > 0 || w.shared != nil || w.tracer != nil || w.meter != nil ||
		len(w.cancels) > 0 || !l.overlaps(w) ||
		slices.ContainsFunc(w.outs, func(o *adapters.Outgoing) bool { return isBestEffort(o) || isLetter(o) }) {
		return nil, false
	}
	x := l.newFlight()
	x.in, x.rec, x.seq = w.in, w.rec, w.seq
	w.comesTo()
	x.came = append(x.one.came[:0], w.came...)
	x.outs = x.one.outs[:0]
	for i, o := range w.outs {
		out := &x.one.out
		if i > 0 {
			out = &adapters.Outgoing{}
		}
		*out = *o
		out.Owner = x
		x.outs = append(x.outs, out)
	}
	x.left = len(x.outs)
	w.spare = append(w.spare, w.outs...)
	w.free()
	return x, true
}

// land finishes a message whose sends are through, or has its work back if they have failed.
func (l *lane) land(x *flight) {
	for _, o := range x.outs {
		if o.Err != nil {
			l.crash(x)
			return
		}
	}
	l.flight--
	x.in.step.counts.inFlight.Add(-1)
	for i := range x.came {
		x.came[i].count(i > 0)
	}
	l.finished = append(l.finished, x.rec)
	l.leave(x.rec)
}

// crash makes a work of a flight again, and goes on as if it had never been anything else.
func (l *lane) crash(x *flight) {
	w := l.work(x.in, x.rec, nil)
	w.seq, w.tries, w.stale, w.failed, w.failedEnv = x.seq, 1, true, x.in, &w.env
	w.tracer, w.meter = nil, nil // nobody has seen its beginning
	w.env.SetAttempt(w.tries)
	w.came = append(w.came, x.came...)
	for _, was := range x.outs {
		o, n := w.outgoing(), w.node()
		*o = *was
		o.Owner = n
	}
	l.advance(w, w.published())
}

func (l *lane) newFlight() *flight {
	if len(l.fleet) == 0 {
		l.fleet = make([]flight, fleet)
	}
	x := &l.fleet[0]
	l.fleet = l.fleet[1:]
	return x
}
