package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// AddTo joins the flow to a Watermill router: a consumer handler per topic and group, named
// "flow/step", with the same steps, retries, publishes and settles as Run. It runs when the router does.
// A handler more reads the inlets for every instance (channel.Inlet.Broadcast), by the flow's own engine; until
// they are caught up the others hold what they are given. Handlers wait where the engine would go on with other messages, so Run is the faster one. The
// returned Handle's Pause, Resume, Counts, Release and PutBack work. To stop, call its Drain, which fires
// the clocks that say AtEnd, or its Stop: both wait for the handlers at work, and what still comes is given back; then
// close the router. Its Done closes at Drain or Stop, not with the router.
func (f *Flow) AddTo(r *message.Router, pub message.Publisher, sub message.Subscriber) (*Handle, error) {
	switch {
	case r == nil:
		return nil, f.errorf("there is no router: give AddTo one, or Run the flow without")
	case f.exactlyOnce:
		return nil, f.errorf("%w", errRouted)
	}
	subs, every, err := f.reads(sub)
	err = errors.Join(f.checkPublisher(pub), err)
	if err == nil {
		err = f.ensure(context.Background(), pub, sub)
	}
	if err == nil {
		err = f.initialize(subs)
	}
	if err != nil {
		return nil, errors.Join(err, closeAll(askedFor(subs, every)))
	}
	h := f.handle(context.Background(), pub, sub)
	h.follows(every)
	h.asked = askedFor(nil, every) // the router closes the others, when it is closed
	type handler struct {
		name, topic string
		sub         message.Subscriber
		run         message.NoPublishHandlerFunc
	}
	var all []handler
	nothing := func(*message.Message) error { return nil }
	for _, s := range subs {
		for topic, ins := range s.topics {
			all = append(all, handler{handlerName(ins), topic, s.sub, h.handler(ins)})
		}
	}
	slices.SortFunc(all, func(a, b handler) int { return strings.Compare(a.name, b.name) })
	for _, s := range f.steps {
		for _, in := range s.inlets {
			if in.clock != nil {
				name, run := s.scope+"/"+in.name, h.clock(in).run
				all = append(all, handler{name, name, h.background(h.ctx, &h.clocks, make(chan struct{}), run), nothing})
			}
		}
	}
	if every != nil {
		all = append(all, handler{every.name(), every.name(), h.background(h.intake, &h.claims, every.over, every.run), nothing})
	}
	taken := r.Handlers()
	for _, x := range all {
		if _, dup := taken[x.name]; dup {
			h.halt()
			return nil, errors.Join(f.errorf("the router has a handler %s already: is the flow added twice?", x.name), closeAll(askedFor(subs, every)))
		}
	}
	for _, x := range all {
		r.AddConsumerHandler(x.name, x.topic, x.sub, x.run)
	}
	for _, s := range f.steps {
		if s.source != nil {
			h.open(s)
		}
	}
	h.tel.start(subs)
	context.AfterFunc(h.ctx, func() {
		h.claims.Wait()
		<-h.empty
		h.clocks.Wait()
		h.closeAsked()
		h.tel.stop()
		close(h.done)
	})
	return h, nil
}

func handlerName(ins []*inlet) string {
	parts := []string{ins[0].step.scope}
	for _, in := range ins[1:] {
		parts = append(parts, in.step.name)
	}
	name := strings.Join(parts, "+")
	if ins[0].name != "" {
		name += "/" + ins[0].name
	}
	return name
}

// handler drives every step that reads a topic; the message is acknowledged after all of them.
func (h *Handle) handler(ins []*inlet) message.NoPublishHandlerFunc {
	drive := func(m *message.Message) error {
		if err := h.enter(m.Context(), ins...); err != nil {
			return h.flow.errorf("message %q: %w: once the flow has stopped, close the router too", m.UUID, errors.Join(channel.ErrStopped, err))
		}
		defer h.leave()
		for _, in := range ins {
			if err := h.tel.messageWork(in, m).drive(h.pub, h.hurried); err != nil {
				h.back.Add(1)
				return fmt.Errorf("flow %s, step %s, message %q: %w", h.flow.name, in.step.name, m.UUID, err)
			}
		}
		return nil
	}
	return func(m *message.Message) error {
		err := drive(m)
		if err != nil {
			giveBack(m) // tries are the flow's to count
		}
		return err
	}
}

// giveBack tells the adapter, if it can be told, that the nack to come is no attempt.
func giveBack(m *message.Message) {
	if give, ok := m.Context().Value(adapters.GiveBackKey{}).(func()); ok {
		give()
	}
}

func (t *telemetry) messageWork(in *inlet, m *message.Message) *work {
	if t.flow.alone {
		in = t.at(in, message.SubscribeTopicFromCtx(m.Context()))
	}
	a := channel.Arrival{
		Context: m.Context(), Topic: in.topic, Scope: in.step.scope, ID: m.UUID, Key: m.Metadata[channel.HeaderKey],
		Headers: channel.Metadata(m.Metadata), Codecs: t.flow.codecs, Payload: m.Payload, Redelivered: redelivered(m),
	}
	w := t.newWork(in, &a)
	w.native = m
	return w
}

var _ adapters.Claim = (*channelClaim)(nil)
