package memory

import (
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A Publisher is an end of a Broker to publish by: a message.Publisher, an adapters.BatchPublisher and an
// adapters.Transactor.
// It is safe for concurrent use.
type Publisher struct {
	broker *Broker
	closed atomic.Bool
}

var (
	_ message.Publisher       = (*Publisher)(nil)
	_ adapters.BatchPublisher = (*Publisher)(nil)
	_ adapters.Transactor     = (*Publisher)(nil)
	_ adapters.System         = (*Publisher)(nil)
)

// System is "memory".
func (*Publisher) System() string { return system }

// A PublishError says what of a Publish was not taken, and why. The messages before Rest were.
type PublishError struct {
	Topic string
	Taken int
	Rest  []*message.Message // as they were given
	Err   error
}

// Error names the topic, how many were taken, and why the rest was not.
func (e *PublishError) Error() string {
	return fmt.Sprintf("publishing to topic %q: %d of %d messages taken: %v", e.Topic, e.Taken, e.Taken+len(e.Rest), e.Err)
}

// Unwrap gives why the rest was not taken.
func (e *PublishError) Unwrap() error { return e.Err }

// Publish puts messages on a topic, in order. It waits while the topic is full (see Broker.Bound),
// until a message's own context ends or the publisher is closed. A message is taken or it is not: an
// error is a *PublishError that lists what was not, and wraps adapters.ErrFull and the context's
// cause, adapters.ErrClosed, channel.ErrTooLarge (then nothing was taken) or ErrConfig. Metadata are
// copied; nobody may change the bytes of the payload afterwards.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if err := p.check(topic, messages); err != nil {
		return &PublishError{Topic: topic, Rest: messages, Err: err}
	}
	for taken := 0; taken < len(messages); {
		n, w, err := p.store(topic, messages[taken:])
		taken += n
		if w != nil {
			w.watch(messages[taken].Context())
			if err = <-w.wait; err == nil {
				taken++
			}
		}
		if err != nil {
			return &PublishError{Topic: topic, Taken: taken, Rest: messages[taken:], Err: err}
		}
	}
	return nil
}

// check finds what is wrong with the messages before any is stored.
func (p *Publisher) check(topic string, messages []*message.Message) error {
	b := p.broker
	if err := b.configure(); err != nil {
		return err
	}
	if err := p.closedErr(topic); err != nil {
		return err
	}
	for i, m := range messages {
		bytes := 0
		for k, v := range m.Metadata {
			bytes += len(k) + len(v)
		}
		if err := b.conf.withinLimits(m.Payload, len(m.Metadata), bytes, func() channel.Headers { return channel.Metadata(m.Metadata) }); err != nil {
			return fmt.Errorf("message %d (%q): %w", i, m.UUID, err)
		}
	}
	return nil
}

// store stores messages while there is room and says how many it stored. The one it finds no room for
// is the pending one.
func (p *Publisher) store(topic string, messages []*message.Message) (int, *pending, error) {
	t := p.broker.lock(topic)
	defer t.unlock()
	if err := p.closedErr(topic); err != nil {
		return 0, nil, err
	}
	for i, m := range messages {
		r := newRecord(t, m, p.broker.conf.key(m))
		if t.queue.Len() > 0 || t.full() {
			w := &pending{rec: r, from: p, wait: make(chan error, 1)}
			t.enqueue(w)
			return i, w, nil
		}
		t.store(r)
	}
	return len(messages), nil, nil
}

// Close ends what waits for room with adapters.ErrClosed and has further messages refused. What was
// published stays. It may be called again.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	p.broker.fail(p)
	return nil
}

func (p *Publisher) closedErr(topic string) error {
	switch {
	case p.closed.Load():
		return fmt.Errorf("topic %q: %w: this publisher was closed", topic, adapters.ErrClosed)
	case p.broker.closed.Load():
		return fmt.Errorf("topic %q: %w: the broker was closed", topic, adapters.ErrClosed)
	}
	return nil
}
