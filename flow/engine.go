package flow

import (
	"context"
	"errors"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/seats"
)

// Run runs the flow on its own engine until ctx ends, then finishes what is being worked on, gives back
// what waits, and returns nil. It returns an error if the flow cannot start or a subscription ends by
// itself.
func (f *Flow) Run(ctx context.Context, pub message.Publisher, sub message.Subscriber) error {
	h, err := f.Start(ctx, pub, sub)
	if err != nil {
		return err
	}
	<-h.Done()
	return h.Err()
}

// Start is Run without waiting. Inlets for every instance (channel.Inlet.Broadcast) are read first: until they
// are caught up nothing else is taken, no clock fires, and sources, Into and Release wait. What pub or sub cannot
// do for the flow is an error by name, never less. A pub or sub whose topics have to exist (adapters.Topics) makes
// those that are missing before anything is read, if it was told to; else all of them are named, with the steps that
// need them. Neither is closed by the flow.
func (f *Flow) Start(ctx context.Context, pub message.Publisher, sub message.Subscriber) (*Handle, error) {
	subs, every, err := f.reads(sub)
	err = errors.Join(f.checkPublisher(pub), err)
	var to adapters.Transactor
	if f.exactlyOnce && err == nil {
		to, err = f.transactor(pub, subs)
	}
	if err == nil {
		err = f.ensure(ctx, pub, sub)
	}
	if f.exactlyOnce && err == nil {
		err = f.prepare(ctx, to, subs)
	}
	if err == nil {
		err = f.initialize(subs)
	}
	asked := askedFor(subs, every)
	if err != nil {
		return nil, errors.Join(err, closeAll(asked))
	}
	h := f.handle(ctx, pub, sub)
	h.follows(every)
	h.asked = asked
	if f.exactlyOnce {
		h.tx = h.committer(to)
		h.pub = h.tx
	}
	if err := h.subscribeAll(subs); err != nil {
		h.halt()
		h.claims.Wait()
		h.tx.stop()
		return nil, errors.Join(err, closeAll(asked))
	}
	h.tel.start(subs)
	h.begin(ctx)
	return h, nil
}

// A subscription is what one member of one group reads.
type subscription struct {
	group  string
	sub    message.Subscriber
	ours   bool                // the flow has asked a Grouper for it, and closes it
	topics map[string][]*inlet // by physical topic
}

// askedFor gives the subscribers that the flow has asked a Grouper for.
func askedFor(subs []*subscription, every *following) (asked []message.Subscriber) {
	for _, s := range subs {
		if s.ours {
			asked = append(asked, s.sub)
		}
	}
	if every != nil && every.asked != nil {
		asked = append(asked, every.asked)
	}
	return asked
}

func closeAll(subs []message.Subscriber) error {
	var errs []error
	for _, s := range subs {
		errs = append(errs, guard(s.Close))
	}
	return errors.Join(errs...)
}

// initialize makes all groups before any reads, or what one has finished is gone for the other.
func (f *Flow) initialize(subs []*subscription) error {
	for _, s := range subs {
		if err := s.initialize(); err != nil {
			return f.errorf("making group %s: %w", s.group, err)
		}
	}
	return nil
}

// initialize has a subscriber that hands over claims make its group, so that no message published after
// Start is missed. Others may refuse to be asked.
func (s *subscription) initialize() error {
	init, ok := adapters.As[message.SubscribeInitializer](s.sub)
	if _, claims := adapters.As[adapters.Claims](s.sub); !ok || !claims {
		return nil
	}
	for topic := range s.topics {
		if err := init.SubscribeInitialize(topic); err != nil {
			return err //nolint:wrapcheck // It names the topic.
		}
	}
	return nil
}

// subscriptions groups the flow's inlets: one subscription per topic and group, however many steps
// read it.
func (f *Flow) subscriptions(sub message.Subscriber) ([]*subscription, error) {
	grouper, grouped := adapters.As[adapters.Grouper](sub)
	var all []*subscription
	for _, s := range f.steps {
		for _, in := range s.inlets {
			if in.clock != nil || in.broadcast || f.direct[in.topic] {
				continue
			}
			if sub == nil {
				return all, f.errorf("step %s reads topic %s and there is no subscriber: give one, or make the topic direct", s.name, in.topic)
			}
			if (s.group != f.group || f.grouped) && !grouped {
				return all, f.errorf("step %s wants the consumer group %s of its own, and the subscriber %T has no groups: "+
					"take out flow.Group, or use an adapter that has them", s.name, s.group, sub)
			}
			i := slices.IndexFunc(all, func(x *subscription) bool { return x.group == s.group })
			if i < 0 {
				x := &subscription{group: s.group, sub: sub, topics: map[string][]*inlet{}}
				if grouped {
					x.sub, x.ours = grouper.Group(s.group), true
				}
				i, all = len(all), append(all, x)
			}
			topic := f.prefix + in.topic
			all[i].topics[topic] = append(all[i].topics[topic], in)
		}
	}
	return all, nil
}

// subscribeAll begins to read, once what every instance reads is caught up.
func (h *Handle) subscribeAll(subs []*subscription) error {
	if h.following != nil {
		h.subscribeBehind(subs)
		return nil
	}
	for _, s := range subs {
		if err := h.subscribe(s); err != nil {
			return err
		}
	}
	return nil
}

// subscribe begins to read, by claims if the subscriber hands them over.
func (h *Handle) subscribe(s *subscription) error {
	claims, ok := adapters.As[adapters.Claims](s.sub)
	if ok {
		topics := make([]string, 0, len(s.topics))
		for t := range s.topics {
			topics = append(topics, t)
		}
		slices.Sort(topics)
		h.claims.Go(func() {
			err := claims.Claim(h.intake, topics, func(c adapters.Claim) { h.own(c, s.topics[c.Topic()]) })
			if h.intake.Err() == nil {
				if err == nil {
					err = adapters.ErrClosed
				}
				h.fail(h.flow.errorf("reading %v in group %s: %w", topics, s.group, err))
			}
		})
		return nil
	}
	for topic, ins := range s.topics {
		c, err := h.channelClaim(s.sub, topic)
		if err != nil {
			return h.flow.errorf("subscribing to %s: %w", topic, err)
		}
		h.claims.Go(func() {
			h.own(c, ins)
			c.end()
			if h.intake.Err() == nil {
				h.fail(h.flow.errorf("the subscription to %s ended: %w", topic, adapters.ErrClosed))
			}
		})
	}
	return nil
}

// runLength is how many records are taken from a claim at once.
const runLength = 256

// own works on a claim until it ends: the reader takes runs and deals them to lanes.
func (h *Handle) own(c adapters.Claim, ins []*inlet) {
	if h.tx != nil {
		s := h.tx.open(c, len(ins))
		defer s.shut()
		c = s
	}
	steps := h.flow.reached(ins)
	lanes := make([]*lane, h.flow.width(ins, c.Order()))
	var places *seats.Lanes
	if len(lanes) > 1 && c.Order() != adapters.Unordered {
		places = seats.New(len(lanes))
	}
	d := newDealer(lanes, places)
	ended := make(chan struct{}, len(lanes))
	for i := range lanes {
		l := h.lane(c, ins, c.Order())
		l.seats = places
		if len(lanes) > 1 {
			l.dealer = d
		}
		lanes[i] = l
		go func() {
			l.run(c.Context())
			ended <- struct{}{}
		}()
	}
	h.deal(c, d, steps)
	patient := h.isPatient()
	for _, l := range lanes {
		l.close(patient)
	}
	hurry := h.hurried
	for range lanes {
		select {
		case <-ended:
			continue
		case <-hurry:
			hurry = nil
			for _, l := range lanes {
				l.hurry()
			}
		}
		<-ended
	}
	for _, l := range lanes { // dealt when ownership was lost and the lane had ended
		if len(l.inbox) > 0 {
			c.Return(adapters.Unseen(l.inbox))
		}
	}
}

// deal is the reader's loop. A pause holds it up for as long as the claim is the flow's.
func (h *Handle) deal(c adapters.Claim, d *dealer, steps []string) {
	reading, end := context.WithCancel(h.intake)
	defer end()
	defer context.AfterFunc(c.Context(), end)()
	buf := make([]*adapters.Record, 0, runLength)
	for h.wait(reading, steps) {
		run, err := c.Next(buf[:0])
		if len(run) > 0 && !h.wait(reading, steps) { // paused meanwhile, and then stopped
			c.Return(adapters.Unseen(run))
			return
		}
		d.deal(run)
		clear(run)
		if err != nil {
			return // the claim has ended, which is no trouble of the flow's: of the subscription's, Claim tells
		}
		d.await()
	}
}

// workersThatWait is how many messages are worked on at once where blocks do more than compute.
const workersThatWait = 64

// width is how many lanes the messages of a topic are worked on in.
func (f *Flow) width(ins []*inlet, order adapters.Order) int {
	if order == adapters.Ordered {
		return 1
	}
	n, effect := 0, channel.Pure
	for _, in := range ins {
		n = max(n, in.step.workers)
	}
	for _, s := range f.reach(ins) {
		effect = max(effect, s.shape.Effect)
	}
	switch {
	case n > 0:
		return n
	case effect == channel.Pure:
		return 1
	}
	return workersThatWait
}

// reach gives the steps that a message at these inlets may come to within the process.
func (f *Flow) reach(ins []*inlet) (steps []*step) {
	var visit func(s *step)
	visit = func(s *step) {
		if slices.Contains(steps, s) {
			return
		}
		steps = append(steps, s)
		for i := range s.outlets {
			for _, in := range s.outlets[i].next {
				visit(in.step)
			}
		}
	}
	for _, in := range ins {
		visit(in.step)
	}
	return steps
}

// reached names them.
func (f *Flow) reached(ins []*inlet) (names []string) {
	for _, s := range f.reach(ins) {
		names = append(names, s.name)
	}
	return names
}
