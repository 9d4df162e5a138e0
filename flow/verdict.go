package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// verdict says what happens after a failed attempt: the one place that decides. The policy is that of
// the step that failed; the message is the one that arrived, since its tree is tried again as a whole.
func (w *work) verdict() next {
	w.err = speaking(w.err)
	s := w.failed.step
	w.last = time.Now()
	if w.first.IsZero() {
		w.first = w.last
	}
	after, later := channel.IsLater(w.err)
	switch {
	case w.stopping(), w.in.isSource() && w.failed == w.in: // who emitted it is told
		return next{what: giveUp}
	case w.rec.Err != nil:
		return w.die(channel.Invalid)
	case channel.IsExpired(w.failedEnv.Context(), w.err):
		return w.die(channel.Expired)
	case later:
		return w.later(after)
	case channel.IsPermanent(w.err):
		return w.die(channel.Buried)
	}
	attempts, backoff, err := s.policy.rule(w.err)
	if err != nil {
		w.err = errors.Join(w.err, err)
	}
	if w.tries >= attempts {
		return w.die(channel.Buried)
	}
	after = backoff.after(w.tries, random(w.env.UID(), w.tries))
	w.event(tracing.EventRetry, w.err, after)
	w.in.step.counts.retries.Add(1)
	if s.policy.OnRetry != nil {
		r := Retry{Flow: w.flow.name, Step: s.name, MessageID: w.name(), Attempt: w.tries, Err: w.err, After: after}
		if err := guard(func() error { s.policy.OnRetry(r); return nil }); err != nil {
			w.log().ErrorContext(w.within(), "OnRetry", tracing.LogError, err)
		}
	}
	return next{what: retry, after: after}
}

// speaking gives an error that can say what it is: one whose Error panics, as that of a typed nil does,
// is replaced by the panic, since nothing that asks it would survive.
func speaking(err error) error {
	if err == nil {
		return nil
	}
	if p := guard(func() error { _ = err.Error(); return nil }); p != nil {
		return fmt.Errorf("an error of type %T cannot say what it is: %w", err, p)
	}
	return err
}

// later holds the message for a pause that is nobody's fault and counts as no attempt.
func (w *work) later(after time.Duration) next {
	if after <= 0 {
		after = settlePause
	}
	w.event(tracing.EventLater, w.err, after)
	if w.laters++; w.laters >= noticeAfter {
		w.warn(noticeLater, "message waits for what its step needs", w.err, tracing.LogFailed, w.failed.step.name)
	}
	w.tries--
	w.in.step.counts.later.Add(1)
	return next{what: retry, after: after}
}

// random spreads the pauses of messages: a message always waits as long at the same attempt, and two
// messages do not wait in step.
func random(id channel.ID, attempt int) uint64 {
	x := binary.LittleEndian.Uint64(id[:8]) ^ binary.LittleEndian.Uint64(id[8:]) + uint64(attempt)*0x9e3779b97f4a7c15 //nolint:gosec // Counts from 1.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// die makes the dead letter what leaves. If it cannot be made now, the message waits: it is never lost
// for want of a dead letter.
func (w *work) die(outcome channel.Outcome) next {
	if outcome == channel.Expired && !errors.Is(w.err, channel.ErrExpired) { // only the context says so, and not for long
		w.err = errors.Join(channel.ErrExpired, w.err)
	}
	w.death = death{w.failed, w.failedEnv, w.err, outcome}
	w.fire()
	last := w.failed.step.shape.Failed
	if w.rec.Err != nil { // no block is told of what is no message
		last = nil
	}
	err := guard(func() error { return w.lastWord(w.err, outcome, last) })
	if _, later := channel.IsLater(err); err != nil && !later {
		return w.dieAlone(err)
	}
	return w.dying(err)
}

// dieAlone is die without what Failed sends, since that cannot be sent.
func (w *work) dieAlone(why error) next {
	d := &w.death
	d.cause = errors.Join(d.cause, errFailedPanic, why)
	w.abandon(why)
	w.failed, w.failedEnv = d.in, d.env // it is that step's letter
	return w.dying(guard(func() error { return w.lastWord(d.cause, d.outcome, nil) }))
}

// dying has the dead letter leave, or, as it cannot be made, the message wait.
func (w *work) dying(err error) next {
	if w.tracer != nil {
		w.attempted(err)
	}
	if err == nil {
		w.buried = true
		return next{what: publish}
	}
	w.abandon(err)
	w.err = errors.Join(w.death.cause, err)
	after, later := channel.IsLater(err)
	if !later {
		after = deathPause
	}
	w.warn(noticeLetter, "message waits for its dead letter", w.err, tracing.LogFailed, w.failed.step.name)
	if errors.Is(err, errNoLetter) { // each try counts, so that its pauses grow
		return next{what: retry, after: after}
	}
	return w.later(after)
}

// A death is why a message dies, and where that was.
type death struct {
	in      *inlet
	env     *channel.Envelope
	cause   error
	outcome channel.Outcome
}

// deathPause is the pause of a message that finally failed and has no dead letter to go to.
const deathPause = 10 * time.Second

var (
	errTimerDead   = errors.New("a clock failed for good and named no entries: no dead letter is made of a timer")
	errNoLetter    = errors.New("the policy says Redeliver")
	errFailedPanic = errors.New("asking the block's Failed")
)

// lastWord asks the failed block, buries what it names, and the message itself unless it is among that.
func (w *work) lastWord(cause error, outcome channel.Outcome, last func(*channel.Envelope, error) (channel.Result, error)) error {
	in, e := w.failed, w.failedEnv
	e.SetContext(w.within()) // without its deadline: there is work left to do
	message := w.message()
	root, self, reason := message.UID(), false, ""
	if last != nil && (in.name == "" || in.clock != nil) {
		var r channel.Result
		err := guard(func() (err error) {
			r, err = last(e, cause)
			return err
		})
		if s := r.Settler(); s != nil {
			w.settles = append(w.settles, s)
		}
		if _, later := channel.IsLater(err); later {
			return err
		}
		if err != nil {
			cause, r = errors.Join(cause, errFailedPanic, err), channel.Result{}
		}
		why, entries := r.Buried()
		if why = speaking(why); why == nil {
			why = cause
		}
		if r.Outcome() == channel.Dropped { // it has ended elsewhere, with its group
			self, outcome, reason = true, channel.Dropped, r.Reason()
		}
		for i := range entries {
			w.bury(in, &entries[i], why)
			self = self || entries[i].UID() == root
		}
		for i := range r.Len() {
			if err := w.deliver(e, in, &r, i); err != nil {
				return err
			}
		}
		if n := r.Released(); n > 0 {
			w.tallies = append(w.tallies, tally{step: in.step, released: n})
		}
		self = self || w.in.clock != nil && len(entries) > 0
	}
	switch {
	case self:
	case w.in.clock != nil:
		return channel.Later(errTimerDead, deathPause)
	case in.step.policy.DeadLetter == "":
		return channel.Later(errNoLetter, in.step.policy.Backoff.after(w.tries, random(root, w.tries)))
	default:
		entry := message.Entry()
		w.bury(in, &entry, cause)
	}
	w.tallies = append(w.tallies, tally{step: w.in.step, outcome: outcome, reason: reason})
	return w.ready()
}

// message is the envelope that dies if the attempt does: of the message that arrived, or, since what a
// source says is none, of the message it became.
func (w *work) message() *channel.Envelope {
	e := &w.env
	if w.in.isSource() {
		for e = w.failedEnv; e.Cause() != &w.env; e = e.Cause() {
			continue
		}
	}
	return e
}
