package subscription

import (
	"context"
	"time"
)

// A worker stays with one record until it is finished: it waits for the acknowledgement, pauses after a nack and offers it
// again, or publishes its dead letter. What pauses in a lane holds up that lane, and nothing else.
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
	back // it is given back: it was not taken, or all ends
)

func (w *worker) run() {
	what := returned
	if w.settle() {
		what = finished
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	w.report(report{w.rec, w.line, what})
}

// settle stays with the record until it is done with. It gives false when it is to be given back.
func (w *worker) settle() bool {
	if w.rec.Err != nil {
		return w.bury(unreadable(w.rec))
	}
	f := failure{class: transient, attempts: w.rec.Again}
	for n := 1; ; n++ {
		switch w.wait() {
		case acked:
			return true
		case back:
			return false
		case nacked:
		}
		f.nacked()
		if w.MaxAttempts > 0 && f.attempts >= w.MaxAttempts {
			return w.bury(f)
		}
		if !w.pause(n) || !w.offer(f.attempts) {
			return false
		}
	}
}

// offer offers the record once more. It gives false when all ends before somebody takes it.
func (w *worker) offer(again int) bool {
	if w.isEnding() {
		return false
	}
	w.ctx = w.context(w.rec, again)
	w.msg = w.message(w.rec, w.ctx)
	select {
	case w.out <- w.msg:
		w.seen(w.rec, w.ctx)
		return true
	case <-w.ending:
		w.ctx.End(nil)
		return false
	}
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
	w.pauses(pausing)
	defer w.pauses(paused)
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

// pauses lets others of a shared line be offered in place of one that pauses. The rest of a lane waits for it.
func (w *worker) pauses(what what) {
	if w.line.shared {
		w.report(report{w.rec, w.line, what})
	}
}
