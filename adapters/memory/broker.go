package memory

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A Broker holds topics in memory: a Message Broker (page 322) for one process. The zero value works.
// Set the fields before the first use and do not copy it. What is wrong with them is an ErrConfig of
// every Publish, Subscribe and Claim.
type Broker struct {
	// Order says which messages of a topic may be in flight at once, in one group. Default: one of
	// each key. Messages without a key keep their order among themselves.
	Order adapters.Order
	// Bound is how many messages of one topic a group may have before it, those in flight included,
	// and how many a topic without groups keeps. Publish waits where there are more. 0: 10,000.
	Bound int
	// Lanes is how many keys of a topic can be in flight at once, in one group: keys are spread over
	// that many by hash. 0: 256.
	Lanes int
	// Window is how many messages one subscription, or one claim, may have in flight. 0: 1,024.
	Window int
	// Backoff is the pause before a nacked message comes again.
	Backoff Backoff
	// DrainTimeout is how long Close, and the end of a subscription's context, wait for what is in
	// flight. What is not acknowledged by then is delivered again, to another member. 0: 10 s.
	DrainTimeout time.Duration
	// Keep names the topics that stay whole, for those who follow them (adapters.Follower): what was
	// published there is kept as long as the broker is, however often it was read. Bound does not count it,
	// so it is for what there is little of: rules, settings, tables.
	Keep []string
	// Limits bound one message: beyond them Publish gives channel.ErrTooLarge.
	Limits channel.Limits
	// Key gives the key of a published message, "" for none. Nil: its header channel.HeaderKey.
	Key func(m *message.Message) string

	once sync.Once
	conf settings
	err  error

	topics sync.Map // of name to *topic
	closed atomic.Bool

	mu        sync.Mutex
	consumers map[*consumer]struct{}
}

// Publisher gives an end to publish by. Closing it closes nothing else.
func (b *Broker) Publisher() *Publisher { return &Publisher{broker: b} }

// Subscriber gives an end to read by, for a consumer group: every group sees every message, its
// members share them. "" is a group of its own for every subscription, which ends with it. Closing it
// closes nothing else.
func (b *Broker) Subscriber(group string) *Subscriber { return &Subscriber{broker: b, group: group} }

// Close refuses further messages, fails the publishes that wait with ErrClosed, and closes every
// subscriber as its own Close does. What nobody has read is gone. It may be called again.
func (b *Broker) Close() error {
	b.closed.Store(true)
	b.fail(nil)
	b.drain(nil)
	return nil
}

// lock gives the topic of that name, locked.
func (b *Broker) lock(name string) *topic {
	for {
		v, ok := b.topics.Load(name)
		if !ok {
			v, _ = b.topics.LoadOrStore(name, &topic{broker: b, name: name, kept: slices.Contains(b.conf.keep, name)})
		}
		t := v.(*topic) //nolint:forcetypeassert // Nothing else is stored.
		t.mu.Lock()
		if !t.dead {
			return t
		}
		t.mu.Unlock()
	}
}

// admit registers a consumer, so that Close finds it.
func (b *Broker) admit(c *consumer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed.Load() || c.end.isClosed() {
		return fmt.Errorf("reading topic %q: %w", c.topic, adapters.ErrClosed)
	}
	if b.consumers == nil {
		b.consumers = map[*consumer]struct{}{}
	}
	b.consumers[c] = struct{}{}
	return nil
}

// drain stops the consumers of an end, nil for all, and waits until they are gone.
func (b *Broker) drain(end *Subscriber) {
	var of []*consumer
	b.mu.Lock()
	for c := range b.consumers {
		if end == nil || c.end.within(end) {
			of = append(of, c)
		}
	}
	b.mu.Unlock()
	for _, c := range of {
		c.stop(adapters.ErrClosed)
	}
	for _, c := range of {
		<-c.ended
	}
}
