package flow

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/letter"
	"github.com/leat-go/leat/tracing"
)

// A work is everything one message that arrived causes, from its first attempt to its end: the core of
// the flow, a state machine without goroutine, clock or I/O of its own. A driver (the engine, a
// Watermill handler, the simulation) calls
//
//	try        the tree of steps, over direct hops, is computed; says what is next
//	published  what left was published, or not; says what is next
//	end, back  the message is finished, or given back
//
// and does what next says. Works are pooled: nothing of one may outlive end and back.
type work struct {
	flow *Flow
	in   *inlet
	env  channel.Envelope // of the message that arrived
	res  channel.Result   // what it came to

	arena   []*node // what it caused
	used    int
	leaving []departure
	outs    []*adapters.Outgoing // what is still to be published
	spare   []*adapters.Outgoing // to reuse
	settles []func(context.Context, error) error
	tallies []tally              // beside its result: of a dead letter
	came    []tally              // once it is over, or has been a flight: what it came to, at its own step first
	cancels []context.CancelFunc // of deadlines

	ctx       context.Context //nolint:containedctx // The message's, as it arrived.
	native    any             // the adapter's own
	tries     int
	laters    int       // pauses since the latest attempt that counts
	first     time.Time // of the first failure
	last      time.Time // of the latest
	failed    *inlet    // where the attempt failed
	failedEnv *channel.Envelope
	err       error // why
	pubFails  int
	buried    bool // what leaves is the dead letter
	death     death
	bare      bool // it is no message: env may have less than came
	stale     bool // there is something of an attempt

	spans // who watches

	sending sending

	// The engine's.
	lane   *lane
	rec    *adapters.Record
	shared *shared // nil: one step sees the record
	due    time.Time
	resend bool   // what waits is the publish
	seq    uint64 // its place in the lane's order
	away   bool   // what it sends is under way
	rested bool   // its pause is over, and it waits for another of its key
	holds  bool   // its key
	answer answer // the committer's
}

// A node is a message that was caused, and what it came to.
type node struct {
	of  *work
	env channel.Envelope
	res channel.Result
	in  *inlet // nil: it leaves

	// Of what leaves.
	letter  bool // a dead letter: env is none
	traced  bool
	pattern bool // its topic comes from a message
	place   *tracing.Place
	span    trace.Span // until it is published; nil: nobody sees it
}

// A departure is an envelope that leaves for a broker.
type departure struct {
	node   *node
	from   *inlet
	cyclic bool
}

// what a driver does next.
type what uint8

const (
	publish what = iota // send outs, then published
	retry               // after a pause, try
	resend              // after a pause, send outs again, then published
	finish              // end
	giveUp              // back
)

type next struct {
	what  what
	after time.Duration
}

// newWork makes the work of what has come, and counts that.
func (t *telemetry) newWork(in *inlet, a *channel.Arrival) *work {
	w := t.workOf(in, a)
	w.arrived()
	return w
}

func (t *telemetry) workOf(in *inlet, a *channel.Arrival) *work {
	w := t.flow.pool.Get().(*work) //nolint:forcetypeassert // The pool holds works only.
	w.in, w.ctx = in, a.Context
	w.watch(t, a)
	w.env.Arrive(a)
	return w
}

func (w *work) arrived() {
	c := &w.in.step.counts
	if w.in.clock != nil {
		c.fired.Add(1)
	} else {
		c.received.Add(1)
		c.inFlight.Add(1)
	}
}

// try runs the message once.
func (w *work) try() next {
	if w.stale {
		w.clean()
	}
	w.stale = true
	w.env.SetContext(w.within())
	w.tries++
	w.env.SetAttempt(w.tries)
	if w.tracer != nil || w.meter != nil {
		w.begin()
	}
	w.err = w.attempt()
	if w.err == nil {
		return next{what: publish}
	}
	w.abandon(w.err)
	return w.verdict()
}

// published looks at what became of outs. What failed is left there.
func (w *work) published() next {
	left := w.outs[:0]
	var permanent error
	for _, o := range w.outs {
		if w.meter != nil {
			w.measureSend(o)
		}
		switch {
		case o.Err == nil:
			w.sent(o, nil)
			w.spare = append(w.spare, o)
			continue
		case isBestEffort(o):
			w.in.step.counts.bestEffort.Add(1)
			w.sent(o, o.Err)
			w.warn(noticeLost, "best-effort delivery lost", o.Err, tracing.LogTopic, tracing.Text(o.Topic))
			w.spare = append(w.spare, o)
			continue
		case isLetter(o) && channel.IsPermanent(o.Err): // a dead letter, and the publisher takes less than the flow
			letter.Shrink(o)
		case channel.IsPermanent(o.Err), o.NoWait && errors.Is(o.Err, adapters.ErrFull):
			permanent = errors.Join(permanent, o.Err)
		}
		left = append(left, o)
	}
	clear(w.outs[len(left):])
	w.outs = left
	switch {
	case len(left) == 0:
		return w.settle()
	case w.stopping():
		w.err = left[0].Err
		w.abandon(w.err)
		return next{what: giveUp}
	case permanent != nil && w.buried: // what Failed sends
		return w.dieAlone(permanent)
	case permanent != nil:
		w.err = channel.Permanent(permanent)
		w.failed, w.failedEnv = w.in, &w.env
		w.abandon(w.err)
		return w.verdict()
	}
	w.pubFails++
	w.warn(noticePublish, "publish failed, trying again until it succeeds", left[0].Err, tracing.LogTopic, tracing.Text(left[0].Topic))
	w.err = left[0].Err
	after := publishPause(w.pubFails)
	w.resent(after)
	return next{what: resend, after: after}
}

func isBestEffort(o *adapters.Outgoing) bool {
	n, ok := o.Owner.(*node)
	return ok && n.env.BestEffort()
}

func isLetter(o *adapters.Outgoing) bool {
	n, ok := o.Owner.(*node)
	return ok && n.letter
}

// publishPause is the pause between tries of a publish: a broker's outage is not the message's fault.
func publishPause(failures int) time.Duration {
	return Backoff{First: 10 * time.Millisecond, Cap: time.Second, Factor: 2}.after(failures, 0)
}

// settlePause is the pause after a settle or a store failed.
const settlePause = time.Second

// settle runs the settles, innermost first. If one fails, nothing is acknowledged: the message is tried
// again, and what was published goes out again under the same ids.
func (w *work) settle() next {
	err := w.runSettles(nil)
	if err == nil {
		return next{what: finish}
	}
	w.err = err
	w.tries--
	w.in.step.counts.later.Add(1)
	if w.stopping() {
		return next{what: giveUp}
	}
	w.warn(noticeSettle, "settling failed, the message is tried again", err)
	after, later := channel.IsLater(err)
	if !later || after <= 0 {
		after = settlePause
	}
	w.event(tracing.EventSettle, err, after)
	return next{what: retry, after: after}
}

func (w *work) runSettles(err error) error {
	if len(w.settles) == 0 {
		return err
	}
	ctx := w.ctx
	if ctx.Done() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	for i := len(w.settles) - 1; i >= 0; i-- {
		if serr := guard(func() error { return w.settles[i](ctx, err) }); serr != nil {
			err = errors.Join(err, serr)
		}
	}
	clear(w.settles)
	w.settles = w.settles[:0]
	return err
}

// abandon lets go of everything a failed attempt claimed.
func (w *work) abandon(err error) {
	if w.tracer != nil {
		for _, o := range w.outs {
			w.sent(o, err)
		}
	}
	_ = w.runSettles(err) // an abort that fails leaves a lease, which ends by itself
	w.spare = append(w.spare, w.outs...)
	clear(w.outs)
	clear(w.leaving)
	w.outs, w.leaving, w.tallies, w.came, w.buried = w.outs[:0], w.leaving[:0], w.tallies[:0], w.came[:0], false
	for _, n := range w.arena[:w.used] {
		n.in = nil // it does not count
	}
}

// clean forgets what the last attempt made.
func (w *work) clean() {
	for _, cancel := range w.cancels {
		cancel()
	}
	clear(w.cancels)
	w.cancels = w.cancels[:0]
	for i, n := range w.arena[:w.used] {
		if w.flow.poison {
			n.env.Arrive(poisoned())
			w.arena[i] = &node{}
			continue
		}
		*n = node{}
	}
	w.res = channel.Result{}
	clear(w.came)
	w.came = w.came[:0]
	w.used = 0
	w.failed, w.failedEnv, w.death = nil, nil, death{}
	clear(w.leaving)
	clear(w.outs)
	w.leaving, w.outs, w.tallies, w.buried = w.leaving[:0], w.outs[:0], w.tallies[:0], false
}

// poisoned is what tests find in an envelope that somebody kept.
func poisoned() *channel.Arrival {
	const p = "poisoned"
	return &channel.Arrival{Context: context.Background(), Topic: p, Scope: p, ID: p, Key: p}
}

// stopping reports whether we stop or have lost the message: it is to be given back.
func (w *work) stopping() bool { return w.ctx.Err() != nil }

// end finishes the message: it is accounted for and may be acknowledged.
func (w *work) end() {
	if w.tracer != nil || w.meter != nil {
		w.ended()
	}
	tick := w.in.clock != nil
	if !tick {
		w.in.step.counts.inFlight.Add(-1)
	}
	if len(w.came) == 0 {
		w.comesTo()
	}
	for i := range w.came {
		switch {
		case i > 0:
			w.came[i].count(true)
		case w.buried: // the tallies say what became of it
		default:
			w.came[i].at(tick)
		}
	}
	for i := range w.tallies {
		w.tallies[i].at(tick)
	}
	w.free()
}

// comesTo notes what the message came to, and what it caused over direct hops.
func (w *work) comesTo() {
	w.came = append(w.came, tallyOf(w.in.step, &w.res))
	for _, n := range w.arena[:w.used] {
		if n.in != nil && n.res.Outcome() != channel.Unsaid {
			w.came = append(w.came, tallyOf(n.in.step, &n.res))
		}
	}
}

// back gives the message back: it was never ours.
func (w *work) back() {
	if w.in.clock == nil {
		c := &w.in.step.counts
		c.returned.Add(1)
		c.inFlight.Add(-1)
	}
	w.over(returned, "", w.err)
	w.free()
}

func (w *work) free() {
	f := w.flow
	w.clean()
	for _, o := range w.spare {
		*o = adapters.Outgoing{}
	}
	if w.tracer != nil || w.meter != nil {
		w.forget()
	}
	if f.poison {
		w.env.Arrive(poisoned())
		return
	}
	w.env = channel.Envelope{}
	w.in, w.ctx, w.native, w.err, w.tries, w.laters, w.pubFails, w.stale = nil, nil, nil, nil, 0, 0, 0, false
	w.first, w.last = time.Time{}, time.Time{}
	if w.lane != nil {
		w.lane, w.rec, w.shared, w.due, w.answer = nil, &f.none, nil, time.Time{}, unanswered
		w.resend, w.holds, w.bare, w.away, w.rested = false, false, false, false, false
	}
	f.pool.Put(w)
}

// node gives a zero node that lives as long as the attempt.
func (w *work) node() *node {
	if w.used == len(w.arena) {
		w.arena = append(w.arena, &node{})
	}
	n := w.arena[w.used]
	n.of = w
	w.used++
	return n
}

// outgoing gives a zero Outgoing that is among those to be published.
func (w *work) outgoing() *adapters.Outgoing {
	var o *adapters.Outgoing
	if n := len(w.spare); n > 0 {
		o = w.spare[n-1]
		w.spare = w.spare[:n-1]
		*o = adapters.Outgoing{}
	} else {
		o = &adapters.Outgoing{}
	}
	w.outs = append(w.outs, o)
	return o
}

// name is the id of the message, for those who are told of it; "" of a clock, whose id has the key in it.
func (w *work) name() string {
	if w.in.clock != nil {
		return ""
	}
	return w.env.ID()
}

func (w *work) log() *slog.Logger {
	l := w.flow.logger().With(tracing.LogFlow, w.flow.name, tracing.LogStep, w.in.step.name,
		tracing.LogMessageID, tracing.Text(w.name()), tracing.LogAttempt, w.tries)
	if sc := trace.SpanContextFromContext(w.within()); w.base != nil && sc.IsValid() {
		l = l.With(tracing.LogTraceID, sc.TraceID().String())
	}
	return l
}
