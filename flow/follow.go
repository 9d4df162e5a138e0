package flow

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// A following is what every instance of a flow reads for itself, from its start, before anything else: its
// broadcast inlets.
type following struct {
	h        *Handle
	follower adapters.Follower
	topics   map[string][]*inlet // by physical topic
	asked    message.Subscriber  // for a Grouper: the follower; nil: the flow was given it

	caughtUp chan struct{} // closed: all that was on the topics at the start is finished
	over     chan struct{} // closed: nothing of them is read any more
}

// reads gives what the flow reads of sub: its subscriptions, and what every instance reads, nil if that is
// nothing.
func (f *Flow) reads(sub message.Subscriber) ([]*subscription, *following, error) {
	subs, err := f.subscriptions(sub)
	if err != nil {
		return subs, nil, err
	}
	every, err := f.following(sub)
	return subs, every, err
}

// following gives what every instance reads.
func (f *Flow) following(sub message.Subscriber) (*following, error) {
	var x *following
	for _, s := range f.steps {
		for _, in := range s.inlets {
			if !in.broadcast {
				continue
			}
			if sub == nil {
				return nil, f.errorf("step %s reads topic %s and there is no subscriber: give one", s.name, in.topic)
			}
			if x == nil {
				var asked message.Subscriber
				if grouper, ok := adapters.As[adapters.Grouper](sub); ok {
					asked = grouper.Group("")
					sub = asked
				}
				x = &following{asked: asked, topics: map[string][]*inlet{}, caughtUp: make(chan struct{}), over: make(chan struct{})}
			}
			var ok bool
			if x.follower, ok = adapters.As[adapters.Follower](sub); !ok {
				return x, f.errorf("step %s reads topic %s in every instance (Broadcast), and the subscriber %T cannot follow a topic from its start: "+
					"use an adapter whose subscriber is an adapters.Follower", s.name, in.topic, sub)
			}
			topic := f.prefix + in.topic
			x.topics[topic] = append(x.topics[topic], in)
		}
	}
	return x, nil
}

// follows has the handle follow x, if it is not nil.
func (h *Handle) follows(x *following) {
	if x != nil {
		h.following, x.h = x, h
	}
}

// run reads until ctx ends, whose cause is then known to everybody. That it ends by itself ends the flow.
func (x *following) run(ctx context.Context) {
	h, topics := x.h, slices.Sorted(maps.Keys(x.topics))
	err := x.follower.Follow(ctx, topics, func(c adapters.Claim) { h.own(c, x.topics[c.Topic()]) },
		sync.OnceFunc(func() { close(x.caughtUp) }))
	if ctx.Err() == nil {
		if err == nil {
			err = adapters.ErrClosed
		}
		h.fail(h.flow.errorf("reading %v in every instance: %w", topics, err))
	}
}

// ready waits until everything that every instance reads is caught up. It reports false once that will not
// be, or ctx has ended.
func (x *following) ready(ctx context.Context) bool {
	if x == nil {
		return true
	}
	select {
	case <-x.caughtUp:
		return true
	default:
	}
	select {
	case <-x.caughtUp:
		return true
	case <-x.over:
	case <-x.h.intake.Done():
	case <-ctx.Done():
	}
	return false
}

// behind reports that there is something left to catch up with.
func (x *following) behind() bool {
	if x == nil {
		return false
	}
	select {
	case <-x.caughtUp:
		return false
	default:
		return true
	}
}

var errBehind = errors.New("what every instance reads was not caught up yet, so no clock was fired")

// subscribeBehind reads what every instance reads, and begins with the rest when that is caught up.
func (h *Handle) subscribeBehind(subs []*subscription) {
	h.claims.Go(func() {
		defer close(h.following.over)
		h.following.run(h.intake)
	})
	h.claims.Go(func() {
		if !h.following.ready(h.intake) {
			return
		}
		for _, s := range subs {
			if err := h.subscribe(s); err != nil {
				h.fail(err)
				return
			}
		}
	})
}

// waits reports whether what comes to these inlets has to wait until the flow has caught up: all but what is
// caught up with.
func waits(ins []*inlet) bool {
	return len(ins) == 0 || slices.ContainsFunc(ins, func(in *inlet) bool { return !in.broadcast })
}

// name is that of a router's handler for it.
func (x *following) name() string {
	var ins []*inlet
	for _, topic := range slices.Sorted(maps.Keys(x.topics)) {
		ins = append(ins, x.topics[topic]...)
	}
	return handlerName(ins)
}
