package flow

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
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
	if b, ok := adapters.As[adapters.BatchPublisher](pub); ok {
		return b
	}
	return oneByOne{pub}
}

// noPublisher stands for the publisher of a flow that was given none because nothing leaves it.
type noPublisher struct{}

var errNoPublisher = errors.New("the flow was started without a publisher, and this leaves it: give Start one")

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

// behind gives the error of one before o that has its topic and its key.
func behind(before []*adapters.Outgoing, o *adapters.Outgoing) error {
	for _, b := range before {
		if b.Err != nil && b.Topic == o.Topic && b.Key == o.Key {
			return fmt.Errorf("not sent before message %s of the same key: %w", b.ID, b.Err)
		}
	}
	return nil
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

// start sends what is to be published. It reports whether all of it is through already; else over is
// called, from elsewhere.
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
	s.left.Store(int32(n) + 1) //nolint:gosec // A result holds fewer than 2^31 deliveries.
	pub.Send(w.outs, s.call)
	return s.left.Add(-1) == 0
}

func (s *sending) done(n int) {
	if s.left.Add(-int32(n)) == 0 { //nolint:gosec // As above.
		s.over()
	}
}

// drive is the core's driver on one goroutine: it waits where the engine would do something else. It
// returns nil when the message is finished, and why not if it is given back.
func (w *work) drive(pub sender) error {
	n := w.try()
	for {
		switch n.what {
		case publish:
			n = w.driveSend(pub)
		case resend:
			if !pause(w.ctx, n.after) {
				w.abandon(w.err)
				return w.refuse()
			}
			n = w.driveSend(pub)
		case retry:
			if !pause(w.ctx, n.after) {
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

func (w *work) driveSend(pub sender) next {
	if len(w.outs) == 0 {
		return w.published()
	}
	through := make(chan struct{})
	if !w.start(pub, func() { close(through) }) {
		<-through
	}
	return w.published()
}

func (w *work) refuse() error {
	err := w.err
	if err == nil {
		err = context.Cause(w.ctx)
	}
	w.back()
	return err
}

// pause waits for d, less if ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
