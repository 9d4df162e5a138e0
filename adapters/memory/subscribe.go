package memory

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// A Subscriber is an end of a Broker to read by, for one consumer group: a message.Subscriber, an
// adapters.Grouper, an adapters.Claims and, without a group, an adapters.Follower. It is safe for concurrent use.
type Subscriber struct {
	broker *Broker
	group  string
	parent *Subscriber // it was made of by Group
	closed atomic.Bool
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
	_ adapters.Grouper             = (*Subscriber)(nil)
	_ adapters.Claims              = (*Subscriber)(nil)
	_ adapters.Follower            = (*Subscriber)(nil)
	_ adapters.Lagger              = (*Subscriber)(nil)
	_ adapters.System              = (*Subscriber)(nil)
)

// Group gives a subscriber for another group. It closes with this one, or alone.
func (s *Subscriber) Group(name string) message.Subscriber {
	return &Subscriber{broker: s.broker, group: name, parent: s}
}

// SubscribeInitialize makes the group on the topic, so that from now on it keeps what is published.
// Without a group it does nothing: a topic without groups keeps it anyway.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	b := s.broker
	if err := b.configure(); err != nil {
		return err
	}
	if b.closed.Load() || s.isClosed() {
		return fmt.Errorf("topic %q: %w", topic, adapters.ErrClosed)
	}
	if s.group == "" {
		return nil
	}
	t := b.lock(topic)
	t.join(s.group)
	t.unlock()
	return nil
}

// Subscribe delivers what the group has not read of the topic, as many messages at once as
// Broker.Order and Broker.Window allow; Again tells how often one came before. The channel has no
// buffer: what nobody has taken from it is not in flight. Beyond what is in flight a subscription
// holds at most one message, which it is offering.
//
// When ctx ends or the subscriber is closed, nothing more is delivered; what is in flight has
// DrainTimeout to be acknowledged, then its contexts end with a cause that wraps channel.ErrStopped
// and it is delivered again to whoever reads for the group. Then the channel is closed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.broker.configure(); err != nil {
		return nil, err
	}
	sub := &subscription{
		consumer: newConsumer(s, topic), ctx: ctx,
		messages: make(chan *message.Message), baton: make(chan struct{}),
	}
	limit := s.broker.conf.window
	if s.broker.conf.order == adapters.Ordered {
		limit = 1
	}
	if err := sub.join(false, limit); err != nil {
		return nil, err
	}
	sub.workers.Store(1)
	sub.unwatch = context.AfterFunc(ctx, func() { sub.stop(context.Cause(ctx)) })
	go sub.work()
	return sub.messages, nil
}

// Lag is how many messages of the topic the group has not finished.
func (s *Subscriber) Lag(topic string) int64 {
	if s.broker.configure() != nil {
		return 0
	}
	t := s.broker.lock(topic)
	defer t.unlock()
	for _, g := range t.groups {
		if g.name == s.group && s.group != "" {
			return int64(g.open)
		}
	}
	return 0
}

// System is "memory".
func (*Subscriber) System() string { return system }

const system = "memory"

// Close ends every subscription and claim of this subscriber and waits until they are gone: at most
// DrainTimeout. It may be called again.
func (s *Subscriber) Close() error {
	s.broker.mu.Lock() // with it held no consumer is just being admitted
	s.closed.Store(true)
	s.broker.mu.Unlock()
	s.broker.drain(s)
	return nil
}

func (s *Subscriber) isClosed() bool {
	return s.closed.Load() || s.parent != nil && s.parent.isClosed()
}

// within reports whether the subscriber closes with end.
func (s *Subscriber) within(end *Subscriber) bool {
	return s == end || s.parent != nil && s.parent.within(end)
}
