package subscription

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/lazy"
	"github.com/leat-go/leat/internal/letter"
)

// bury publishes the record's dead letter, again and again until that succeeds. It gives false when all
// ends before: then nothing is acknowledged.
func (w *worker) bury(f failure) bool {
	o := w.letter(w.rec, &f)
	for n := 1; ; n++ {
		if w.isEnding() { // a nack then says nothing against the message: handlers nack when they are stopped
			return false
		}
		sent, err := w.send(o)
		switch {
		case !sent:
			return false
		case err == nil:
			w.died.warn(w.Log, "message goes to the dead letter",
				w.about(w.rec, slog.Int("attempt", f.attempts), slog.String("error", channel.Reason(f.reason()))))
			if told := w.Events.DeadLettered; told != nil {
				told(w.claim, w.rec)
			}
			return true
		case errors.Is(err, channel.ErrTooLarge) && letter.Shrink(o): // the publisher's limits are narrower than ours
			continue
		}
		w.unpublished.warn(w.Log, "dead letter cannot be published: nothing is acknowledged, it is tried again",
			w.about(w.rec, slog.String("dead_letter", w.DeadLetter), slog.Any("error", err)))
		w.tell(pausing)
		on := w.pause(n)
		w.tell(paused)
		if !on {
			return false
		}
	}
}

// send publishes once and waits for the result. It gives false when all ends before that is known.
func (w *worker) send(o *adapters.Outgoing) (sent bool, err error) {
	// The record's own deadline, if it has one, is no reason to keep its dead letter back.
	ctx := &messageContext{Context: lazy.Context{Context: w.claim.Context()}, subscription: context.WithoutCancel(w.context(w.rec, w.rec.Again))}
	done := make(chan struct{})
	o.Context, o.Err = ctx, nil
	w.Publish.Send([]*adapters.Outgoing{o}, func(outs []*adapters.Outgoing) {
		if len(outs) > 0 {
			close(done)
		}
	})
	select {
	case <-done:
		ctx.End(nil)
		return true, o.Err
	case <-w.ending:
	}
	select {
	case <-done:
		ctx.End(nil)
		return true, o.Err
	case <-w.forced:
		ctx.End(w.errLost())
	case <-w.claim.Context().Done(): // and ctx with it
	}
	return false, nil
}

// A notice is one kind of trouble of a claim that is logged as it begins and then at most once in
// noticePause, with how often it came: an outage that a thousand messages meet is one line.
type notice struct {
	at   atomic.Int64 // when the latest line was written, Unix nanoseconds
	more atomic.Int64 // times since
}

const noticePause = time.Minute

func (n *notice) warn(log *slog.Logger, text string, args []any) {
	now, at := time.Now().UnixNano(), n.at.Load()
	if at != 0 && now-at < int64(noticePause) || !n.at.CompareAndSwap(at, now) {
		n.more.Add(1)
		return
	}
	if more := n.more.Swap(0); more > 0 {
		args = append(args, slog.Int64("more", more))
	}
	log.Warn(text, args...)
}
