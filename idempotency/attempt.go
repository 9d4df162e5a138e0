package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leat-go/leat/channel"
)

// An attempt is one message between Enter and its end: a failed exit, or the settle. It is pooled with
// its two functions bound, so that a message allocates nothing.
type attempt struct {
	r      Receiver
	claim  Claim
	ctx    context.Context //nolint:containedctx // The message's, for the abort.
	watch  *watch          // nil: the claim cannot be lost
	step   phase
	buried bool

	exit   channel.Exit
	settle func(context.Context, error) error
}

// A phase guards a pooled attempt against a driver that calls it twice.
type phase uint8

const (
	idle phase = iota
	working
	settling
)

var errTwice = errors.New("idempotent receiver: exit or settle called out of turn: each is called once, in this order")

// attempts is a pool and no state: an attempt belongs to one message from Enter to its end. It has no
// New, which would refer to it in a circle.
var attempts sync.Pool //nolint:gochecknoglobals // A cache.

func (r *Receiver) attempt(e *channel.Envelope, c Claim) *attempt {
	a, ok := attempts.Get().(*attempt)
	if !ok {
		a = &attempt{}
		a.exit, a.settle = a.leave, a.settled
	}
	a.r, a.claim, a.ctx, a.step = *r, c, e.Context(), working
	if r.Fence || !r.local() {
		a.watch = r.watch(a.ctx, c)
		e.SetContext(a.watch.ctx)
		a.watch.restore = e
	}
	return a
}

// leave is the Exit. A failed attempt lets go of its claim at once; a good one when it is settled.
func (a *attempt) leave(res channel.Result, err error) (channel.Result, error) {
	if a.step != working {
		return res, errTwice
	}
	if a.watch != nil {
		a.watch.leave(a.ctx)
	}
	if err == nil {
		a.step, a.buried = settling, res.Outcome() == channel.Buried
		return res.Settle(a.settle), nil
	}
	if a.watch != nil {
		if lost := context.Cause(a.watch.ctx); errors.Is(lost, ErrLost) {
			// The work was told to stop. What it makes of that, a bare context.Canceled for instance, is
			// not the message's fault: it would count as an attempt, and end in the dead letter.
			err = a.r.failed("working on", a.claim.Scope, a.claim.Key, errors.Join(lost, err))
		}
	}
	if aerr := a.abort(a.ctx); aerr != nil {
		// Not wrapped: what becomes of the message is for err to say. The claim ends with its lease.
		err = fmt.Errorf("%w (its claim could not be let go: %v)", err, aerr) //nolint:errorlint // See above.
	}
	a.end()
	return res, err
}

// settled is the Settle.
func (a *attempt) settled(ctx context.Context, err error) error {
	if a.step != settling {
		return errTwice
	}
	if err != nil || a.buried {
		err = a.abort(ctx)
	} else {
		err = a.commit(ctx)
	}
	a.end()
	return err
}

func (a *attempt) commit(ctx context.Context) error {
	err := a.r.Store.Commit(ctx, CommitRequest{Claim: a.claim, Remember: a.r.remember()})
	if err != nil {
		return a.r.failed("marking as done", a.claim.Scope, a.claim.Key, err)
	}
	return nil
}

func (a *attempt) abort(ctx context.Context) error { return a.r.abort(ctx, a.claim) }

// end returns a to the pool: nothing may touch it afterwards.
func (a *attempt) end() {
	if a.watch != nil {
		a.watch.stop()
	}
	exit, settle := a.exit, a.settle
	*a = attempt{exit: exit, settle: settle}
	attempts.Put(a)
}

// abort lets go of a claim, whatever became of the message's own context. It takes a lease at most:
// then the claim is over anyway.
func (r *Receiver) abort(ctx context.Context, c Claim) error {
	if !r.local() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), r.leaseTime())
		defer cancel()
	}
	if err := r.Store.Abort(ctx, c); err != nil {
		return r.failed("letting go of", c.Scope, c.Key, err)
	}
	return nil
}

// A watch keeps the lease of one claim while its message is worked on, and ends the message's context
// when the claim is lost. It has a timer and no goroutine; Renew runs in the timer's.
type watch struct {
	ctx     context.Context //nolint:containedctx // The message's, with the claim.
	cancel  context.CancelCauseFunc
	restore *channel.Envelope // nil: none, or it has left

	store Store
	claim Claim
	keyed bool            // by a Key of the receiver's
	lease time.Duration   // 0: endless, nothing to renew
	calls context.Context //nolint:containedctx // Of every Renew.
	end   context.CancelFunc

	mu    sync.Mutex
	timer *time.Timer
	until time.Time // when the lease is over as far as is known
	over  bool
}

// watch begins to keep a claim that has just been begun.
func (r *Receiver) watch(ctx context.Context, c Claim) *watch {
	w := &watch{store: r.Store, claim: c}
	w.ctx, w.cancel = context.WithCancelCause(context.WithValue(ctx, claimKey{}, c))
	if r.local() {
		return w
	}
	w.lease, w.keyed = r.leaseTime(), r.Key != nil
	w.calls, w.end = context.WithCancel(context.WithoutCancel(ctx))
	w.until = time.Now().Add(w.lease)
	w.mu.Lock()
	w.timer = time.AfterFunc(w.lease/renewals, w.renew)
	w.mu.Unlock()
	return w
}

// renew is called a third of the lease after the last time. A store that does not answer is asked
// again until the lease is over; then the claim counts as lost, and nothing is left running for a
// message that nobody ends.
func (w *watch) renew() {
	pause := w.lease / renewals
	asked := time.Now()
	ctx, cancel := context.WithTimeout(w.calls, pause)
	err := renewed(ctx, w)
	cancel()

	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
		return
	case err == nil:
		w.until = asked.Add(w.lease)
	case errors.Is(err, ErrLost) || !time.Now().Before(w.until):
		w.over = true
		w.cancel(fmt.Errorf("keeping the claim on %s in scope %q: %w", named(w.claim.Key, w.keyed), w.claim.Scope, errors.Join(ErrLost, err)))
		return
	}
	w.timer.Reset(pause)
}

// renewed asks the store. It runs beside every message: a panic there would end the process.
func renewed(ctx context.Context, w *watch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the store's Renew panicked: %v", p)
		}
	}()
	return w.store.Renew(ctx, w.claim, w.lease)
}

// leave gives the envelope its own context back: what is published, and the work around this
// interceptor, does not end with the claim.
func (w *watch) leave(own context.Context) {
	if w.restore != nil {
		w.restore.SetContext(own)
		w.restore = nil
	}
}

// stop ends the watch.
func (w *watch) stop() {
	w.mu.Lock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	if w.end != nil {
		w.end()
	}
	w.cancel(nil)
}
