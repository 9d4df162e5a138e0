package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A member is one member of a consumer group: its clients, a session, and the claims that the group gives it. A broker
// answers the requests of a connection one after another: what is asked over the reading client's waits behind a fetch
// that waits for messages, and behind a join that waits for other members. So commits have a client of their own.
type member struct {
	conf   *SubscriberConfig
	client sarama.Client // reads, and is in the group
	desk   sarama.Client // for all else
	group  sarama.ConsumerGroup
	log    *slog.Logger
	tally  *tally
	health *health

	lifeline *lifeline // of both clients

	free func() // gives the Instance to others of this process

	ctx  context.Context //nolint:containedctx // The parent of claims' contexts.
	kick chan struct{}   // holds a token: commit now

	stopping chan struct{} // closed when it ends
	done     chan struct{} // closed when it has left the group

	committing sync.Mutex     // one commit at a time
	looking    sync.WaitGroup // for what cannot be read, or is nobody's

	mu      sync.Mutex
	reads   map[string]*reading // by topic
	claims  map[*claim]struct{}
	session sarama.ConsumerGroupSession // nil: none
	joined  bool                        // there has been one
	end     context.CancelCauseFunc     // ends the session
	why     error                       // the member ends; nil: it goes on
	fatal   error                       // why it cannot go on
	late    *time.Timer                 // of the end; nil: it has not begun
}

// A reading is one topic that a member reads, for one subscription.
type reading struct {
	own    func(adapters.Claim)
	active sync.WaitGroup // claims worked on
}

// newMember connects. It joins no group before run.
func newMember(ctx context.Context, conf *SubscriberConfig, t *tally) (*member, error) {
	sc, err := conf.config()
	if err != nil {
		return nil, err
	}
	log := conf.Cluster.Logger.With("group", conf.Group)
	h := newHealth(log, &conf.Cluster)
	line := newLifeline(sc)
	client, err := conf.Cluster.connect(ctx, h.watch(sc, "reading"))
	if err != nil {
		return nil, err
	}
	desk, err := conf.Cluster.connect(ctx, h.watch(sc, "committing"))
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	group, err := sarama.NewConsumerGroupFromClient(conf.Group, client)
	if err != nil {
		_ = errors.Join(client.Close(), desk.Close())
		return nil, fmt.Errorf("consumer group %q: %w", conf.Group, err)
	}
	return &member{
		conf: conf, client: client, desk: desk, group: group, tally: t, ctx: context.WithoutCancel(ctx),
		log: log, health: h, lifeline: line,
		kick: make(chan struct{}, 1), stopping: make(chan struct{}), done: make(chan struct{}), reads: map[string]*reading{}, claims: map[*claim]struct{}{},
	}, nil
}

// run is in the group until stop, and comes back to it after every failure.
func (m *member) run() {
	m.health.begin()
	var all sync.WaitGroup
	ended := make(chan struct{})
	all.Go(m.errors)
	all.Go(func() { m.commits(ended) })
	for failures := 0; ; {
		topics, ctx := m.topics()
		if topics == nil {
			break
		}
		begun := time.Now()
		err := m.group.Consume(ctx, topics, m)
		if m.isStopped() {
			break
		}
		if errors.Is(err, sarama.ErrFencedInstancedId) {
			m.fail(fmt.Errorf("group %q: another process is instance %q now: give each its own SubscriberConfig.Instance: %w", m.conf.Group, m.conf.Instance, err))
			break
		}
		if err == nil {
			failures = 0
			continue
		}
		if time.Since(begun) > m.conf.SessionTimeout {
			failures = 0
		}
		failures++
		m.health.trouble(part{}, fmt.Errorf("reading topics %v: %w", topics, err))
		_ = sleep(ctx, pause(50*time.Millisecond, time.Second, failures))
	}
	m.mu.Lock()
	m.hurry()
	m.mu.Unlock()
	if err := m.group.Close(); err != nil {
		m.log.Warn("leaving the group", "error", err)
	}
	close(ended)
	all.Wait()
	m.looking.Wait()
	_ = errors.Join(m.client.Close(), m.desk.Close())
	m.health.end()
	m.free()
	m.late.Stop()
	close(m.done)
}

// hurry has the end take no longer than it may, though brokers do not answer. m.mu is held.
func (m *member) hurry() {
	if m.late == nil {
		m.late = time.AfterFunc(m.conf.ending()+max(m.conf.SessionTimeout, m.conf.DrainTimeout), m.lifeline.sever)
	}
}

func (m *member) wait() { <-m.done }

// discard ends a member that has never run.
func (m *member) discard() {
	_ = m.group.Close()
	_ = errors.Join(m.client.Close(), m.desk.Close())
	m.free()
}

func (m *member) ensure(ctx context.Context, topics []string) error {
	return ensureBy(ctx, m.desk, m.conf.Create, topics)
}

func (m *member) lag(topic string) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.claims {
		if c.topic == topic {
			n += c.lag()
		}
	}
	return n
}

// topics gives what to read and the context of the next session, nil when the member ends.
func (m *member) topics() ([]string, context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, end := context.WithCancelCause(m.ctx)
	m.end = end
	if m.why != nil || len(m.reads) == 0 { // a drop that left none stops the member
		return nil, ctx
	}
	return slices.Sorted(maps.Keys(m.reads)), ctx
}

// add reads one more topic. It reports false if the member is about to end, or reads the topic already.
func (m *member) add(topic string, r *reading) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.why != nil || m.reads[topic] != nil {
		return false
	}
	m.reads[topic] = r
	return true
}

// drop stops reading a topic. Its claims are let go; the member's others are taken up again at once.
func (m *member) drop(topic string, why error) {
	m.mu.Lock()
	delete(m.reads, topic)
	last := len(m.reads) == 0
	var of []*claim
	for c := range m.claims {
		if c.topic == topic {
			of = append(of, c)
		}
	}
	end := m.end
	m.mu.Unlock()
	if last {
		m.stop(why)
		return
	}
	for _, c := range of {
		c.stop(why)
	}
	if end != nil && len(of) == 0 {
		endSession(end, why)
	}
}

// endSession ends a session whose claims are still this member's.
func endSession(end context.CancelCauseFunc, why error) {
	end(fmt.Errorf("%w: %w", channel.ErrStopped, why))
}

// stop ends the member: its claims give out nothing more, and when they are let go it leaves the group.
func (m *member) stop(why error) {
	m.mu.Lock()
	if m.why == nil {
		m.why = why
		close(m.stopping)
		m.hurry()
	}
	claims, end := make([]*claim, 0, len(m.claims)), m.end
	for c := range m.claims {
		claims = append(claims, c)
	}
	m.mu.Unlock()
	for _, c := range claims {
		c.stop(why)
	}
	if len(claims) == 0 && end != nil { // else the last claim that is let go ends the session
		endSession(end, why)
	}
}

func (m *member) isStopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.why != nil
}

// fail ends the member by itself.
func (m *member) fail(err error) {
	m.log.Error("Kafka consumer ends", "error", err)
	m.mu.Lock()
	m.fatal = err
	m.mu.Unlock()
	m.stop(err)
}

// Setup notes the session.
func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	m.session = s
	stopped, end, first := m.why, m.end, !m.joined
	m.joined = true
	m.mu.Unlock()
	m.health.recovered()
	m.tally.rebalanced()
	if stopped != nil {
		endSession(end, stopped)
	} else if m.conf.Instance != "" {
		m.looking.Go(func() { m.mind(s.Context(), end, first) })
	}
	return nil
}

// Cleanup forgets the session, whose claims are all gone.
func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	m.session = nil
	m.mu.Unlock()
	return nil
}

// ConsumeClaim has a partition worked on until it is another's, or the member ends.
func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, kc sarama.ConsumerGroupClaim) error {
	from := kc.InitialOffset()
	if from < 0 { // nothing is committed: it is the name of an offset
		var err error
		if from, err = m.desk.GetOffset(kc.Topic(), kc.Partition(), from); err != nil {
			return fmt.Errorf("asking where topic %q, partition %d begins: %w", kc.Topic(), kc.Partition(), err)
		}
	}
	c := newClaim(m.ctx, m.conf, m, groupSource{kc}, kc.Topic(), kc.Partition(), from)
	r := m.enter(c)
	if r == nil {
		return nil
	}
	defer r.active.Done() // when what is finished is committed
	m.tally.claimed(c)
	unwatch := context.AfterFunc(s.Context(), func() {
		if cause := context.Cause(s.Context()); isLoss(cause) {
			m.lose(c, cause)
		}
	})
	go func() { // until the client closes the channel: at the latest when this function has returned
		c.intake()
		c.stop(fmt.Errorf("%w: %w", channel.ErrStopped, errRevoked))
	}()
	err := m.takeOver(c)
	if err != nil || c.rewound {
		m.leave(c)
		unwatch()
		if err == nil {
			m.restart()
		}
		return err
	}
	worked := make(chan struct{})
	r.active.Go(func() { // an own that outstays its time holds up neither the session nor the group
		defer close(worked)
		r.own(c)
	})
	select {
	case <-worked:
	case <-c.ctx.Done():
	}
	m.leave(c)
	unwatch()
	return nil
}

// enter registers a claim, so that stop finds it, and gives what works on it.
func (m *member) enter(c *claim) *reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.reads[c.topic]
	if m.why != nil || r == nil {
		return nil
	}
	m.claims[c] = struct{}{}
	r.active.Add(1)
	return r
}

// arrived says that a partition is read.
func (m *member) arrived(c *claim) { m.health.well(c.part()) }

// leave ends a claim: what is finished is committed while the partition is still this member's.
func (m *member) leave(c *claim) {
	c.stop(channel.ErrStopped)
	c.settleUp()
	m.commitLast(c)
	c.letGo()
	m.mu.Lock()
	delete(m.claims, c)
	last := len(m.claims) == 0
	why, end := m.why, m.end
	m.mu.Unlock()
	if why != nil && last { // one that goes to another member does not end the session by itself
		endSession(end, why)
	}
	m.health.well(c.part()) // another's trouble now
	m.tally.released(c)
}

// lose ends the ownership of a partition that is another member's now, or nobody's.
func (m *member) lose(c *claim, why error) {
	if c.isLost() {
		return
	}
	c.lose(fmt.Errorf("topic %q, partition %d: %w: %w", c.topic, c.partition, adapters.ErrLost, why))
	m.log.Warn("partition lost, what is not finished of it is delivered again", "topic", c.topic, "partition", c.partition, "error", why)
}

// isLoss reports whether a session that ended for this reason has lost its partitions to others.
func isLoss(cause error) bool {
	switch {
	case cause == nil, errors.Is(cause, context.Canceled), errors.Is(cause, channel.ErrStopped), errors.Is(cause, adapters.ErrClosed),
		errors.Is(cause, sarama.ErrSessionConsumeClaimExited), errors.Is(cause, sarama.ErrSessionPartitionCountChanged),
		errors.Is(cause, sarama.ErrRebalanceInProgress):
		return false
	}
	return true
}

// groupSource is a claim's source in a group's session.
type groupSource struct{ sarama.ConsumerGroupClaim }

// pausable is what the client's claims are besides.
type pausable interface {
	Pause()
	Resume()
}

func (s groupSource) pause() {
	if p, ok := s.ConsumerGroupClaim.(pausable); ok {
		p.Pause()
	}
}

func (s groupSource) resume() {
	if p, ok := s.ConsumerGroupClaim.(pausable); ok {
		p.Resume()
	}
}

// errors reads what the client has to say until the group is closed.
func (m *member) errors() {
	for err := range m.group.Errors() {
		var about part
		if e, ok := errors.AsType[*sarama.ConsumerError](err); ok {
			about = partOf(e)
		}
		m.health.trouble(about, err)
		m.refusals(err)
	}
}
