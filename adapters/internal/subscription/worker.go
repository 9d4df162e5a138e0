package subscription

import (
	"context"
	"time"
)

// A worker stays with a record that takes longer: it waits for the acknowledgement, pauses after a nack, or publishes the dead
// letter. What pauses in a lane holds up that lane, and nothing else.
type worker struct {
	*delivery
	flight

	timer *time.Timer // of pauses, with rung
	rung  chan struct{}
}

// fate is what became of a message.
type fate uint8

const (
	acked fate = iota
	nacked
	back // it is given back: all ends
)

func (w *worker) run() {
	event := w.settle()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.report(report{w.turn, w.line, event})
}

// settle stays with the record until it is done with for now.
func (w *worker) settle() event {
	if w.rec.Err != nil {
		if !w.bury(unreadable(w.rec)) {
			w.rec.Unseen = true // nobody is shown what is no message
			return returned
		}
		return finished
	}
	switch w.wait() {
	case acked:
		return finished
	case back:
		return returned
	case nacked:
	}
	if w.tries == nil {
		w.tries = &tries{failure: failure{class: transient, attempts: w.rec.Again}}
	}
	w.tries.nacked()
	w.tries.n++
	tried := !w.ctx.back.Load()
	if !tried {
		w.tries.back++
	}
	switch {
	case tried && w.MaxAttempts > 0 && w.tries.attempts-w.tries.back >= w.MaxAttempts:
		if !w.bury(w.tries.failure) {
			return returned
		}
		return finished
	case w.isEnding(): // a nack then is no attempt
		return returned
	}
	w.tell(pausing)
	if !w.pause(w.tries.n) {
		w.tell(paused)
		return returned
	}
	return again
}

// wait waits for what becomes of the message.
func (w *worker) wait() fate {
	select {
	case <-w.msg.Acked():
		w.ctx.End(nil)
		return acked
	case <-w.msg.Nacked():
		w.ctx.End(nil)
		return nacked
	case <-w.ending:
		return w.drain()
	}
}

// drain waits for a message in flight while it may still be acknowledged.
func (w *worker) drain() fate {
	var cause error
	select {
	case <-w.msg.Acked():
	case <-w.msg.Nacked():
	case <-w.forced:
		cause = w.errLost()
	case <-w.claim.Context().Done():
		cause = context.Cause(w.claim.Context())
	}
	select {
	case <-w.msg.Acked(): // in time after all, unless ownership is lost: then finish does nothing
		w.ctx.End(nil)
		return acked
	default:
		w.ctx.End(cause)
		return back
	}
}

// pause waits after the n-th failure of the record in a row. It gives false when all ends.
func (w *worker) pause(n int) bool {
	d := w.Backoff.pause(n)
	switch {
	case d <= 0: // no timer is armed for what has passed
		return !w.isEnding()
	case w.timer == nil:
		w.rung = make(chan struct{}, 1)
		w.timer = time.AfterFunc(d, func() { w.rung <- struct{}{} })
	default:
		w.timer.Reset(d)
	}
	select {
	case <-w.rung:
		return !w.isEnding()
	case <-w.ending:
		return false
	}
}

// tell lets others of a shared line be offered in place of one that pauses. The rest of a lane waits for it.
func (w *worker) tell(e event) {
	if w.line.shared {
		w.report(report{w.turn, w.line, e})
	}
}
