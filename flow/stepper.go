package flow

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// A Stepper is a flow with no goroutine, no clock and no waiting of its own: the caller decides what
// happens next. It is what package leattest simulates with, where a seed names one history; the core
// is the one that Run and AddTo drive.
type Stepper struct {
	flow *Flow
	tel  *telemetry
	pub  sender
}

// Stepper gives one. Pub must have published when its Publish, or Send, returns.
func (f *Flow) Stepper(pub message.Publisher) *Stepper {
	s := &Stepper{flow: f, tel: f.telemetry(pub), pub: senderOf(pub)}
	s.tel.start(nil)
	return s
}

// An Attempt is one message, or one due key, on its way through a Stepper.
type Attempt struct {
	w    *work
	pub  sender
	next next
}

// Arrive gives an attempt for each step that reads the physical topic.
func (s *Stepper) Arrive(topic string, m *message.Message) ([]*Attempt, error) {
	var as []*Attempt
	for logical, ins := range s.flow.feeds {
		if s.flow.prefix+logical != topic || s.flow.direct[logical] {
			continue
		}
		for _, in := range ins {
			if in.broadcast {
				return nil, s.flow.errorf("step %s reads topic %s in every instance: %w", in.step.name, topic, channel.ErrNotCarried)
			}
			as = append(as, &Attempt{w: s.tel.messageWork(in, m), pub: s.pub, next: next{what: retry}})
		}
	}
	if as == nil {
		return nil, s.flow.errorf("no step reads topic %s", topic)
	}
	return as, nil
}

// Due gives an attempt for each key that the flow's clocks say is due now.
func (s *Stepper) Due(ctx context.Context, now time.Time) ([]*Attempt, error) {
	var as []*Attempt
	for _, st := range s.flow.steps {
		for _, in := range st.inlets {
			if in.clock == nil {
				continue
			}
			due, err := in.due(ctx, channel.DueRequest{Now: now, Limit: dueLimit})
			if err != nil {
				return nil, err
			}
			for _, key := range due.Keys {
				a := channel.Arrival{
					Context: ctx, Scope: st.scope, ID: st.scope + "/" + key, Key: key, Codecs: s.flow.codecs, Tick: true,
				}
				as = append(as, &Attempt{w: s.tel.newWork(in, &a), pub: s.pub, next: next{what: retry}})
			}
		}
	}
	return as, nil
}

// A Fate says where an attempt stands.
type Fate uint8

// The fates.
const (
	Waits     Fate = iota // call Step again, after the pause
	Finished              // acknowledge it
	GivenBack             // deliver it again
)

// Step goes on until the attempt has to wait or is over. It must not be called after that.
func (a *Attempt) Step() (fate Fate, after time.Duration) {
	if a.next.what == retry {
		a.next = a.w.try()
	} else {
		a.next = next{what: publish}
	}
	for {
		switch a.next.what {
		case publish:
			through := true
			if len(a.w.outs) > 0 {
				through = a.w.start(a.pub, func() {})
			}
			if !through {
				return Waits, 0
			}
			a.next = a.w.published()
		case retry, resend:
			return Waits, a.next.after
		case finish:
			a.w.end()
			return Finished, 0
		case giveUp:
			a.w.back()
			return GivenBack, 0
		}
	}
}
