package subscription

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/lazy"
)

// A worker takes the records of one queue, one at a time, each until it is finished. So what pauses in a
// lane holds up that lane, and nothing else.
type worker struct {
	*delivery

	q     *queue
	rec   *adapters.Record
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
	var unsettled []*adapters.Record
	for w.rec = w.q.take(); w.rec != nil; w.rec = w.q.take() {
		if !w.settle() {
			unsettled = append(unsettled, w.rec)
			w.q.leave()
			break
		}
		w.finish(w.rec)
	}
	if w.isEnding() {
		unsettled = append(unsettled, adapters.Unseen(w.q.rest())...)
	}
	w.giveBack(unsettled)
	if w.timer != nil {
		w.timer.Stop()
	}
}

// settle offers the record until it is done with. It gives false when it is to be given back.
func (w *worker) settle() bool {
	if w.rec.Err != nil {
		return w.bury(unreadable(w.rec))
	}
	f := failure{class: transient, attempts: w.rec.Again}
	for n := 1; ; n++ {
		switch w.deliver(f.attempts) {
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
		if !w.pause(n) {
			return false
		}
	}
}

// deliver makes one attempt.
func (w *worker) deliver(again int) fate {
	w.rec.Unseen = again == w.rec.Again
	if w.isEnding() {
		return back
	}
	ctx := w.context(again)
	m := w.message(ctx)
	if !w.offer(m) {
		ctx.End(nil)
		return back
	}
	w.rec.Unseen = false
	if told := w.Events.Redelivered; told != nil && (again > 0 || w.rec.Doubtful) {
		told(w.claim, w.rec)
	}
	select {
	case <-m.Acked():
	case <-m.Nacked():
		ctx.End(nil)
		return nacked
	case <-w.ending:
		return w.drain(m, ctx)
	}
	ctx.End(nil)
	return acked
}

// context makes that of one attempt.
func (w *worker) context(again int) *messageContext {
	of := w.rec.Context
	if of == nil {
		of = w.claim.Context()
	}
	return &messageContext{
		Context: lazy.Context{Context: of}, subscription: w.values, native: w.rec.Native, again: again, doubtful: w.rec.Doubtful,
	}
}

// message makes the record a message. Each attempt has one of its own: a nacked one cannot be
// acknowledged any more, and its reader may have changed the metadata.
func (w *worker) message(ctx *messageContext) *message.Message {
	m := w.Message(w.rec)
	m.SetContext(ctx)
	if ctx.again > 0 {
		if m.Metadata == nil {
			m.Metadata = message.Metadata{}
		}
		m.Metadata[HeaderAttempt] = decimal(ctx.again + 1)
	} else {
		delete(m.Metadata, HeaderAttempt)
	}
	return m
}

// offer reports whether somebody took the message before all ended.
func (w *worker) offer(m *message.Message) bool {
	select {
	case w.out <- m: // a reader waits: this costs half of the select below
		return true
	default:
	}
	select {
	case w.out <- m:
		return true
	case <-w.ending:
		return false
	}
}

// drain waits for a message in flight while it may still be acknowledged.
func (w *worker) drain(m *message.Message, ctx *messageContext) fate {
	var cause error
	select {
	case <-m.Acked():
	case <-m.Nacked():
	case <-w.forced:
		cause = w.errLost()
	case <-w.claim.Context().Done():
		cause = context.Cause(w.claim.Context())
	}
	select {
	case <-m.Acked(): // in time after all, unless ownership is lost: then finish does nothing
		ctx.End(nil)
		return acked
	default:
		ctx.End(cause)
		return back
	}
}

// pause waits after the n-th failure of the record in a row. It gives false when all ends.
func (w *worker) pause(n int) bool {
	w.q.pausing()
	defer w.q.paused()
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
