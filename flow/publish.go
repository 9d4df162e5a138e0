package flow

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/lazy"
	"github.com/leat-go/leat/tracing"
)

// A sender publishes without waiting, as adapters.BatchPublisher says.
type sender interface {
	Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing))
}

// senderOf gives a publisher's own batches, or publishes one by one, so that it is known of each message
// whether it went out.
func senderOf(pub message.Publisher) sender {
	if pub == nil {
		return noPublisher{}
	}
	pub = tracing.Untraced(pub) // a flow makes its own spans
	if b, ok := adapters.As[adapters.BatchPublisher](pub); ok {
		return b
	}
	return oneByOne{pub}
}

// checkPublisher refuses a flow without a publisher, unless nothing ever leaves it.
func (f *Flow) checkPublisher(pub message.Publisher) error {
	if pub != nil {
		return nil
	}
	for _, s := range f.steps {
		if dl := s.policy.DeadLetter; dl != "" {
			return f.errorf("step %s has the dead letter %s: %w", s.name, dl, errNoPublisher)
		}
		for i := range s.outlets {
			if o := &s.outlets[i]; o.next == nil {
				return f.errorf("step %s sends to topic %s: %w", s.name, o.Topic, errNoPublisher)
			}
		}
	}
	return nil
}

// noPublisher stands for the publisher of a flow that nothing leaves.
type noPublisher struct{}

var errNoPublisher = errors.New("there is no publisher: give one")

func (noPublisher) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	for _, o := range outs {
		o.Err = errNoPublisher
	}
	done(outs)
}

type oneByOne struct{ pub message.Publisher }

// Send publishes each in its turn. What comes after one that failed, on its topic and with its key, is
// not sent before it: it has failed too.
func (p oneByOne) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	failed := 0
	for i, o := range outs {
		if failed > 0 {
			if o.Err = behind(outs[:i], o); o.Err != nil {
				continue
			}
		}
		if o.Err = guard(func() error { return p.pub.Publish(o.Topic, watermill(o)) }); o.Err != nil {
			failed++
		}
	}
	done(outs)
}

// behind gives the error of one before o that has its topic and its key, and will be sent again.
func behind(before []*adapters.Outgoing, o *adapters.Outgoing) error {
	for _, b := range before {
		if b.Err != nil && b.Topic == o.Topic && b.Key == o.Key && !isOver(b) {
			return fmt.Errorf("not sent before message %q of the same key: %w", b.ID, b.Err)
		}
	}
	return nil
}

// isOver reports that what was not published will not be sent again as it is, nor a notice in its place: its message dies.
func isOver(o *adapters.Outgoing) bool {
	if !channel.IsPermanent(o.Err) {
		return false
	}
	switch x := o.Owner.(type) {
	case *node:
		return !x.letter && !x.of.in.step.policy.Redeliver
	case *flight:
		return !x.in.step.policy.Redeliver
	}
	return false
}

func watermill(o *adapters.Outgoing) *message.Message {
	m := message.NewMessage(o.ID, o.Payload)
	for i := range o.Headers {
		m.Metadata[o.Headers[i].Name] = o.Headers[i].Value
	}
	if o.Key != "" {
		m.Metadata[channel.HeaderKey] = o.Key
	}
	if o.Context != nil {
		m.SetContext(o.Context)
	}
	return m
}

// sending counts what of a work's outs is still under way, and tells when nothing is.
type sending struct {
	left atomic.Int32
	call func([]*adapters.Outgoing) // one, for every send of the work
	over func()                     // called by whoever brings left to 0
}

// start sends what is to be published, alone; those of a lane send together (lane.flush).
// It reports whether all of it is through already; else over is called, from elsewhere.
func (w *work) start(pub sender, over func()) bool {
	n := len(w.outs)
	if n == 0 {
		return true
	}
	s := &w.sending
	if s.call == nil {
		s.call = func(outs []*adapters.Outgoing) { s.done(len(outs)) }
	}
	s.over = over
	w.sends(n + 1)
	pub.Send(w.outs, s.call)
	return s.left.Add(-1) == 0
}

// sends notes that n are about to be sent.
func (w *work) sends(n int) {
	if w.meter != nil {
		w.sentAt = time.Now()
	}
	w.sending.left.Store(int32(n)) //nolint:gosec // A result holds fewer than 2^31 deliveries.
}

func (s *sending) done(n int) {
	if s.left.Add(-int32(n)) == 0 { //nolint:gosec // As above.
		s.over()
	}
}

// drive is the core's driver on one goroutine: it waits where the engine would do something else. It
// returns nil when the message is finished, and why not if it is given back: at the latest when the
// message's context ends or stop closes and it would have to wait.
func (w *work) drive(pub sender, stop <-chan struct{}) error {
	n := w.try()
	for {
		switch n.what {
		case publish:
			n = w.driveSend(pub, stop)
		case resend:
			if !pause(w.ctx, stop, n.after) {
				w.abandon(w.err)
				return w.refuse()
			}
			n = w.driveSend(pub, stop)
		case retry:
			if !pause(w.ctx, stop, n.after) {
				return w.refuse()
			}
			n = w.try()
		case finish:
			w.end()
			return nil
		case giveUp:
			return w.refuse()
		}
	}
}

func (w *work) driveSend(pub sender, stop <-chan struct{}) next {
	if len(w.outs) == 0 {
		return w.published()
	}
	ctx := &lazy.Context{Context: w.ctx}
	for _, o := range w.outs {
		if w.tracer != nil {
			o.Context = trace.ContextWithSpan(ctx, trace.SpanFromContext(o.Context)) //nolint:fatcontext // Each has its own.
			continue
		}
		o.Context = ctx
	}
	through := make(chan struct{})
	if !w.start(pub, func() { close(through) }) {
		select {
		case <-through:
		case <-stop: // what waits for room waits no more
			ctx.End(channel.ErrStopped)
			<-through
		}
	}
	ctx.End(nil)
	return w.published()
}

func (w *work) refuse() error {
	err := w.err
	if err == nil {
		err = context.Cause(w.ctx)
	}
	if w.ctx.Err() == nil && (!w.in.isSource() || w.failed != w.in) {
		err = errors.Join(channel.ErrStopped, err)
	}
	w.back()
	return err
}

// pause waits for d, less if ctx ends or stop closes first.
func pause(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	default:
		if d <= 0 {
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
