package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/internal/subscription"
	"github.com/leat-go/leat/channel"
)

// A Subscriber reads from a Kafka cluster: a message.Subscriber, an adapters.Grouper, an adapters.Claims,
// and, without a group, an adapters.Follower. It is safe for concurrent use, and connects when it is first
// used.
type Subscriber struct {
	conf   SubscriberConfig
	parent *Subscriber // it was made of by Group
	tally  *tally
	letter *Publisher // of dead letters; nil: there is no topic for them
	names  *names     // of its members that have an Instance
	gate   subscription.Gate

	mu       sync.Mutex
	closed   bool
	readers  map[reader]struct{}
	children []*Subscriber

	joining   sync.Mutex
	gathering *gathering // the member that further subscriptions join; by joining
}

// A reader is a member of a group, or one that reads without.
type reader interface {
	stop(why error)
	wait()
	lag(topic string) int64
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
	_ adapters.Grouper             = (*Subscriber)(nil)
	_ adapters.Claims              = (*Subscriber)(nil)
	_ adapters.Follower            = (*Subscriber)(nil)
	_ adapters.Topics              = (*Subscriber)(nil)
	_ adapters.Lagger              = (*Subscriber)(nil)
	_ adapters.Transactable        = (*Subscriber)(nil)
	_ adapters.System              = (*Subscriber)(nil)
)

// NewSubscriber checks the settings and connects to nothing. The error is an ErrConfig that names every
// wrong field.
func NewSubscriber(c SubscriberConfig) (*Subscriber, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	s := &Subscriber{conf: c, tally: newTally(&c), names: &names{}, readers: map[reader]struct{}{}}
	if c.DeadLetter == "" {
		return s, nil
	}
	var err error
	s.letter, err = NewPublisher(PublisherConfig{Cluster: c.Cluster, Limits: lettersWithin(c.Limits), Create: c.Create})
	return s, err
}

// Group gives a subscriber for another group, with the settings of this one; "" has no Instance. It closes with this one, or
// alone; of one that is closed it is closed.
func (s *Subscriber) Group(name string) message.Subscriber {
	c := s.conf
	c.Group = name
	if name == "" {
		c.Instance = ""
	}
	g := &Subscriber{conf: c, parent: s, tally: newTally(&c), letter: s.letter, names: s.names, readers: map[reader]struct{}{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.closed = s.closed; !g.closed {
		s.children = append(s.children, g)
	}
	return g
}

// System is "kafka".
func (*Subscriber) System() string { return system }

// Transactable refuses ReadUncommitted: it delivers messages of transactions that are aborted later, and what they caused would
// be committed.
func (s *Subscriber) Transactable() error {
	if s.conf.ReadUncommitted {
		return wrong("ReadUncommitted is on: what came of a transaction that is aborted later would be committed: turn it off")
	}
	return nil
}

// Ensure connects, and makes the topics that are missing if Create says so; else it gives an ErrNoTopic for
// each.
func (s *Subscriber) Ensure(ctx context.Context, topics []string) error {
	conf, err := s.conf.config()
	if err != nil {
		return err
	}
	return ensure(ctx, &s.conf.Cluster, conf, s.conf.Create, s.withLetter(topics))
}

func (s *Subscriber) withLetter(topics []string) []string {
	if s.conf.DeadLetter == "" {
		return topics
	}
	return append([]string{s.conf.DeadLetter}, topics...)
}

// SubscribeInitialize makes the topic if it is missing and Create says so. A group that begins with the newest message
// begins here: it sees what is published from now on.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx := context.Background()
	if err := s.Ensure(ctx, []string{topic}); err != nil || s.conf.Group == "" || s.conf.Start != Newest {
		return err
	}
	return s.beginNow(ctx, topic)
}

// Subscribe delivers what the group has not read of the topic: as many messages at once as Order, Lanes and
// Window allow. What is nacked comes again, as Backoff and MaxAttempts say. Subscriptions that are made within
// 50 ms of each other share one member of the group; a later one is a member of its own, which is one rebalance more.
//
// When ctx ends or the subscriber is closed, nothing more is delivered; what is in flight has DrainTimeout
// to be acknowledged, then its contexts end with a cause that wraps channel.ErrStopped and it is delivered
// again to whoever owns the partition. Then the channel is closed. So it is when the group has expelled the
// subscriber for good, with an error in the log. Errors: ErrNoTopic, adapters.ErrClosed, or why no broker was reached within
// Cluster.DialTimeout.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	conf := s.delivery()
	r := &reading{own: func(c adapters.Claim) { conf.Deliver(ctx, c, out) }}
	if s.conf.Group == "" {
		f, err := s.follow(ctx, []string{topic}, r.own, nil)
		if err != nil {
			return nil, fmt.Errorf("subscribing to topic %q: %w", topic, err)
		}
		unhook := context.AfterFunc(ctx, func() { f.stop(context.Cause(ctx)) })
		go func() {
			f.wait()
			unhook()
			close(out)
		}()
		return out, nil
	}
	m, err := s.join(ctx, topic, r)
	if err != nil {
		return nil, fmt.Errorf("subscribing to topic %q in group %q: %w", topic, s.conf.Group, err)
	}
	go func() {
		select {
		case <-ctx.Done():
			m.drop(topic, context.Cause(ctx))
		case <-m.stopping:
		}
		r.active.Wait()
		close(out)
	}()
	return out, nil
}

// Pause holds back what Subscribe delivers of the topics; none: of all. What is delivered already goes on, as its retries do when
// it is resumed, and one message more may be on its way. Partitions stay with their members, which read until Window is full.
// A subscriber made by Group has its own; a flow pauses by step, with flow.Handle.Pause.
func (s *Subscriber) Pause(topics ...string) { s.gate.Pause(topics...) }

// Resume ends Pause for the topics; none: for all, which alone ends a Pause of all.
func (s *Subscriber) Resume(topics ...string) { s.gate.Resume(topics...) }

// delivery is how claims are delivered to a channel.
func (s *Subscriber) delivery() *subscription.Config {
	c := &s.conf
	d := &subscription.Config{
		Lanes: c.Lanes, SpreadKeyless: c.SpreadKeyless, Backoff: subscription.Backoff(c.Backoff),
		MaxAttempts: c.MaxAttempts, DeadLetter: c.DeadLetter, Limits: lettersWithin(c.Limits), Drain: c.DrainTimeout, Log: c.Cluster.Logger,
		Events: s.tally.events(), Gate: &s.gate,
	}
	if s.letter != nil {
		d.Publish = s.letter
	}
	return d
}

// Claim is documented at adapters.Claims. Each call is a member of the group of its own. Without a group, every
// call is handed every partition.
func (s *Subscriber) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	if s.conf.Group == "" {
		return s.Follow(ctx, topics, own, nil)
	}
	if err := checkTopics(topics); err != nil {
		return err
	}
	m, err := s.member(ctx, topics)
	if err != nil {
		return fmt.Errorf("reading topics %v in group %q: %w", topics, s.conf.Group, err)
	}
	rs := make([]reading, len(topics))
	for i, t := range topics {
		rs[i].own = own
		m.add(t, &rs[i])
	}
	unhook := context.AfterFunc(ctx, func() { m.stop(context.Cause(ctx)) })
	defer unhook()
	m.run()
	s.forget(m)
	for i := range rs {
		rs[i].active.Wait()
	}
	return m.fatal
}

// Follow is documented at adapters.Follower. It is for a subscriber without a group. With a nil caughtUp it begins at Start, else
// at the oldest message.
func (s *Subscriber) Follow(ctx context.Context, topics []string, own func(adapters.Claim), caughtUp func()) error {
	if s.conf.Group != "" {
		return fmt.Errorf("following topics %v: %w", topics, errGrouped)
	}
	if err := checkTopics(topics); err != nil {
		return err
	}
	f, err := s.follow(ctx, topics, own, caughtUp)
	if err != nil {
		return fmt.Errorf("reading topics %v: %w", topics, err)
	}
	unhook := context.AfterFunc(ctx, func() { f.stop(context.Cause(ctx)) })
	defer unhook()
	f.wait()
	if errors.Is(f.why, ErrRefused) {
		return f.why
	}
	return nil
}

var (
	errGrouped  = errors.New(`a member of a group does not see everything: use Group("")`)
	errNoTopics = errors.New("claim without topics: name at least one")
)

func checkTopics(topics []string) error {
	if len(topics) == 0 {
		return errNoTopics
	}
	seen := map[string]bool{}
	for _, t := range topics {
		if seen[t] {
			return fmt.Errorf("claim of topic %q twice: name it once", t)
		}
		seen[t] = true
	}
	return nil
}

// member connects a member for topics, which are there then.
func (s *Subscriber) member(ctx context.Context, topics []string) (*member, error) {
	if s.isClosed() {
		return nil, adapters.ErrClosed
	}
	conf := s.conf
	var free func()
	conf.Instance, free = s.names.take(conf.Group, conf.Instance)
	m, err := newMember(ctx, &conf, s.tally)
	if err != nil {
		free()
		return nil, err
	}
	m.free = free
	if err := m.ensure(ctx, s.withLetter(topics)); err != nil {
		m.discard()
		return nil, err
	}
	if !s.admit(m) {
		m.discard()
		return nil, adapters.ErrClosed
	}
	return m, nil
}

// gatherFor is how long a member waits for further subscriptions before it joins the group.
const gatherFor = 50 * time.Millisecond

// A gathering is a member that has not joined yet.
type gathering struct {
	m     *member
	timer *time.Timer
}

// join has a member read the topic: the one that gathers topics, or a new one.
func (s *Subscriber) join(ctx context.Context, topic string, r *reading) (*member, error) {
	s.joining.Lock()
	defer s.joining.Unlock()
	if g := s.gathering; g != nil && g.timer.Stop() { // it has not begun, and now it will not
		defer g.timer.Reset(gatherFor)
		if err := g.m.ensure(ctx, s.withLetter([]string{topic})); err != nil {
			return nil, err
		}
		if g.m.add(topic, r) {
			return g.m, nil
		}
	}
	m, err := s.member(ctx, []string{topic})
	if err != nil {
		return nil, err
	}
	m.add(topic, r)
	s.gathering = &gathering{m, time.AfterFunc(gatherFor, func() {
		m.run()
		s.forget(m)
	})}
	return m, nil
}

// admit registers a reader, so that Close finds it.
func (s *Subscriber) admit(r reader) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.readers[r] = struct{}{}
	return true
}

func (s *Subscriber) forget(r reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
}

// disown forgets a child that is closed.
func (s *Subscriber) disown(g *Subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.children = slices.DeleteFunc(s.children, func(x *Subscriber) bool { return x == g })
}

func (s *Subscriber) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Lag is how many messages of the topic lie behind those this subscriber has finished, in the partitions it
// owns: from the first that is not finished on, in each.
func (s *Subscriber) Lag(topic string) (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.readers {
		n += r.lag(topic)
	}
	return n
}

// Close ends every subscription and claim of this subscriber and waits until they are gone: a little more than DrainTimeout
// at most. If the last offsets cannot be committed, it takes the longer of SessionTimeout and DrainTimeout on top, and then
// closes its connections, whether brokers answer or not. It may be called again.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	readers := make([]reader, 0, len(s.readers))
	for r := range s.readers {
		readers = append(readers, r)
	}
	children := slices.Clone(s.children)
	s.mu.Unlock()
	for _, r := range readers {
		r.stop(fmt.Errorf("%w: %w", channel.ErrStopped, adapters.ErrClosed))
	}
	var all sync.WaitGroup
	for _, c := range children {
		all.Go(func() { _ = c.Close() })
	}
	for _, r := range readers {
		r.wait()
	}
	all.Wait()
	s.tally.close()
	if s.parent != nil {
		s.parent.disown(s)
	}
	if s.letter != nil && s.parent == nil {
		return s.letter.Close()
	}
	return nil
}
