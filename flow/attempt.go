package flow

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/leat-go/leat/channel"
)

// attempt computes the whole tree and makes ready what leaves. Nothing is published yet.
func (w *work) attempt() (err error) {
	w.failed, w.failedEnv = w.in, &w.env
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		if w.tracer != nil {
			w.attempted(err)
		}
	}()
	if err := w.rec.Err; err != nil { // nobody looks at what is no message
		return channel.Permanent(err)
	}
	if only := w.env.Get(channel.HeaderOnly); only != "" && only != w.env.Scope() {
		w.res = channel.Drop(putBackElsewhere)
		return nil
	}
	if w.env.Hops() > w.flow.maxHops { // it would die where it leaves, and take a group with it
		return fmt.Errorf("from topic %q: %w (%d, MaxHops is %d)", w.env.Topic(), channel.ErrLoop, w.env.Hops(), w.flow.maxHops)
	}
	if err := w.limit(&w.env); err != nil {
		return err
	}
	if err := w.tree(&w.env, &w.res, w.in); err != nil {
		return err
	}
	return w.ready()
}

// putBackElsewhere is the reason under which a step drops what PutBack meant for another.
const putBackElsewhere = "put back for another step"

// tree runs a message through a step and, over direct hops, what follows from it.
func (w *work) tree(e *channel.Envelope, r *channel.Result, in *inlet) error {
	w.failed, w.failedEnv = in, e // until it is known better
	depth, direct := len(w.open), e.Cause() != nil
	if w.traced && direct {
		w.enter(e, in)
	}
	err := w.run(e, in, r)
	if s := r.Settler(); s != nil {
		w.settles = append(w.settles, s)
	}
	if err != nil {
		return err
	}
	was, group := w.traced, w.group
	if w.tracer != nil {
		w.relate(e, in, r)
	}
	switch r.Outcome() { //nolint:exhaustive // The others are deliveries, or nothing more.
	case channel.Unsaid:
		return channel.ErrNoResult
	case channel.Streamed:
		return fmt.Errorf("a stream from step %s: %w", in.step.name, channel.ErrNotCarried)
	case channel.Buried:
		if err := w.buryResult(e, in, r); err != nil {
			return err
		}
	}
	for i := range r.Len() {
		if err := w.deliver(e, in, r, i); err != nil {
			return err
		}
	}
	if w.tracer != nil {
		w.leave(depth, direct, r)
		w.traced, w.group = was || w.traced && w.base != nil && in.clock != nil, group
	}
	return nil
}

// run is the interceptors and the block.
func (w *work) run(e *channel.Envelope, in *inlet, r *channel.Result) error {
	if len(in.around) > 0 {
		return w.around(e, in, r)
	}
	return w.block(e, in, r)
}

func (w *work) block(e *channel.Envelope, in *inlet, r *channel.Result) error {
	if e.Deleted() && !in.tombstones {
		return fmt.Errorf("topic %s: %w", in.topic, channel.ErrTombstone)
	}
	if len(w.cancels) > 0 && e.Context().Err() != nil {
		return context.Cause(e.Context())
	}
	return in.stage(e, r)
}

// around enters the interceptors, runs the block, and leaves them in reverse. After a panic the exits
// of those entered run with it, so that what they claimed is let go.
func (w *work) around(e *channel.Envelope, in *inlet, r *channel.Result) (err error) {
	var buf [4]channel.Exit
	exits := buf[:0]
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		for i := len(exits) - 1; i >= 0; i-- {
			cause := err
			err = guard(func() (err error) {
				*r, err = exits[i](*r, cause)
				return err
			})
		}
	}()
	for _, ic := range in.around {
		answer, exit, err := ic.Enter(e)
		if exit != nil {
			exits = append(exits, exit)
		}
		if err != nil || answer.Outcome() != channel.Unsaid {
			*r = answer
			return err
		}
	}
	if err := w.block(e, in, r); err != nil {
		return err
	}
	if r.Outcome() == channel.Unsaid {
		return channel.ErrNoResult
	}
	return nil
}

// deliver sends one delivery on: over a direct hop at once, else it leaves.
func (w *work) deliver(e *channel.Envelope, in *inlet, r *channel.Result, i int) error {
	s, d := in.step, r.At(i)
	if err := d.Err(); err != nil {
		return err
	}
	o := s.outletTo(d.Topic(), d.Type())
	if o == nil {
		return fmt.Errorf("step %s sends %v to %q: %w", s.name, d.Type(), d.Topic(), channel.ErrUndeclared)
	}
	if o.next == nil {
		n := w.node()
		c := &n.env
		c.Follow(e, d, o.ordinal(s, r, i), "")
		n.place, n.pattern, n.traced = o.place, o.pattern, w.traced
		w.under(c, d)
		if c.BestEffort() && !o.BestEffort { // it is drawn as one that is not lost
			return fmt.Errorf("step %s sends to %q with BestEffort, which its outlet does not say: %w", s.name, d.Topic(), channel.ErrUndeclared)
		}
		w.leaving = append(w.leaving, departure{n, in, o.cyclic})
		return nil
	}
	for _, next := range o.next {
		n := w.node()
		c := &n.env
		n.in = next
		c.Follow(e, d, o.ordinal(s, r, i), next.step.scope)
		w.under(c, d)
		if w.flow.roundTrip {
			if err := c.RoundTrip(); err != nil {
				return err
			}
		}
		if _, own := d.Lookup(channel.HeaderExpires); own { // not its cause's
			c.SetContext(w.undated(c.Context()))
			w.failed, w.failedEnv = next, c
			if err := w.limit(c); err != nil {
				return err
			}
		}
		if err := w.tree(c, &n.res, next); err != nil {
			return err
		}
	}
	w.failed, w.failedEnv = in, e
	return nil
}

// ordinal counts the deliveries before the i-th that go to the same topic.
func (o *outlet) ordinal(s *step, r *channel.Result, i int) (n int) {
	if len(s.outlets) == 1 && !o.pattern {
		return i
	}
	for j := range i {
		if r.At(j).Topic() == r.At(i).Topic() {
			n++
		}
	}
	return n
}

// limit gives the envelope a context that ends at the message's own deadline, if it has one.
func (w *work) limit(e *channel.Envelope) error {
	at, ok, err := e.Expires()
	if err != nil || !ok {
		return err
	}
	ctx, cancel := context.WithDeadlineCause(e.Context(), at, channel.ErrExpired)
	e.SetContext(ctx)
	w.cancels = append(w.cancels, cancel)
	return nil
}

// ready encodes what leaves: what cannot be written fails before anything is published. Hops are looked
// at here: what goes in circles leaves again and again, for direct hops form no cycle.
func (w *work) ready() error {
	for i := range w.leaving {
		n := w.leaving[i].node
		e := &n.env
		w.failed, w.failedEnv = w.leaving[i].from, e.Cause()
		if e.Hops() > w.flow.maxHops {
			return fmt.Errorf("for topic %q: %w (%d, MaxHops is %d)", e.Topic(), channel.ErrLoop, e.Hops(), w.flow.maxHops)
		}
		p, err := e.Payload()
		if err != nil {
			return err
		}
		o := w.outgoing()
		o.Context = w.ctx //nolint:fatcontext // It is handed on, not wrapped.
		o.Topic, o.ID, o.Key = w.flow.prefix+e.Topic(), e.ID(), e.Key()
		o.Headers, o.Payload, o.Owner, o.NoWait = e.Fields(), p, n, w.leaving[i].cyclic || e.BestEffort()
		if w.flow.history > 0 {
			o.Headers = o.Headers.With(channel.HeaderHistory, w.flow.historyOf(e))
		}
		if w.tracer != nil {
			w.depart(e.Context(), o, n)
		}
		err = w.flow.limits.CheckFields(p, o.Headers)
		if err != nil && w.tracer != nil { // a trace is not worth a message
			o.Headers = w.tracer.Strip(o.Headers)
			err = w.flow.limits.CheckFields(p, o.Headers)
		}
		if err != nil {
			return fmt.Errorf("for topic %q: %w", e.Topic(), err)
		}
	}
	return nil
}

// A panicError is a panic in a handler, a predicate, a mapper or a codec, as its message's error.
type panicError struct {
	value any
	stack []byte
}

// Error has what the panic's value says of itself. Of a value that says nothing it has the type: printed
// with %v, it would show what is in it, and that may be a message.
func (p *panicError) Error() string {
	switch p.value.(type) {
	case error, string, fmt.Stringer:
		return fmt.Sprintf("panic: %v", p.value)
	}
	return fmt.Sprintf("panic: a %T", p.value)
}

// GoString is Error, for %#v.
func (p *panicError) GoString() string { return p.Error() }

// Unwrap gives the panic's value if it is an error.
func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

func panicked(value any) error { return &panicError{value: value, stack: debug.Stack()} }

// guard makes a panic an error, beside the one there may be already.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, panicked(p))
		}
	}()
	return f()
}
