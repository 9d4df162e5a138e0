package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A follower reads every partition of topics, without a group. Where it has got to it keeps in memory: after
// a broken connection the client goes on from there.
type follower struct {
	conf     *SubscriberConfig
	client   sarama.Client
	consumer sarama.Consumer
	log      *slog.Logger
	tally    *tally
	health   *health
	lifeline *lifeline
	own      func(adapters.Claim)
	topics   []string

	ctx      context.Context //nolint:containedctx // The parent of claims' contexts.
	stopping chan struct{}
	done     chan struct{}
	all      sync.WaitGroup

	behind   atomic.Int64 // partitions that are not caught up yet
	caughtUp func()

	mu     sync.Mutex
	why    error
	claims map[*claim]*followed
	known  map[string]map[int32]bool
	late   *time.Timer // of the end; set when it is to stop
}

// followed is a claim of a follower.
type followed struct {
	until int64 // the end of the partition when the follower began; -1: it is caught up
}

// follow connects and begins to read.
func (s *Subscriber) follow(ctx context.Context, topics []string, own func(adapters.Claim), caughtUp func()) (*follower, error) {
	sc, err := s.conf.config()
	if err != nil {
		return nil, err
	}
	h := newHealth(s.conf.Cluster.Logger, &s.conf.Cluster)
	line := newLifeline(sc)
	client, err := s.conf.Cluster.connect(ctx, h.watch(sc, "reading"))
	if err != nil {
		return nil, err
	}
	f := &follower{
		conf: &s.conf, client: client, log: s.conf.Cluster.Logger, tally: s.tally, health: h, lifeline: line, own: own, topics: topics,
		ctx: context.WithoutCancel(ctx), stopping: make(chan struct{}), done: make(chan struct{}), caughtUp: caughtUp,
		claims: map[*claim]*followed{}, known: map[string]map[int32]bool{},
	}
	err = ensureBy(ctx, client, s.conf.Create, s.withLetter(topics))
	if err == nil {
		f.consumer, err = sarama.NewConsumerFromClient(client)
	}
	if err == nil && !s.admit(f) {
		err = adapters.ErrClosed
	}
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	h.begin()
	f.behind.Store(1) // until every partition is known
	for _, t := range topics {
		f.known[t] = map[int32]bool{}
	}
	if err = f.look(ctx, true); err != nil {
		f.stop(err)
	} else {
		f.reached(1)
	}
	f.all.Go(f.refresh)
	go func() {
		f.all.Wait()
		if err := f.consumer.Close(); err != nil {
			f.log.Warn("closing a consumer without a group", "error", err)
		}
		_ = client.Close()
		f.health.end()
		s.forget(f)
		f.late.Stop()
		close(f.done)
	}()
	if err != nil {
		f.wait()
		return nil, err
	}
	return f, nil
}

// reached notes that n of the things to catch up with are done.
func (f *follower) reached(n int64) {
	if f.behind.Add(-n) == 0 && f.caughtUp != nil {
		f.caughtUp()
	}
}

// refresh looks for new partitions until the follower stops.
func (f *follower) refresh() {
	t := time.NewTicker(f.conf.RefreshInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-f.stopping:
			return
		}
		if err := refresh(f.client, f.topics...); err != nil {
			f.log.Warn("looking for new partitions", "topics", f.topics, "error", err)
			continue
		}
		if err := f.look(f.ctx, false); err != nil {
			f.log.Warn("reading new partitions", "topics", f.topics, "error", err)
		}
	}
}

// look begins to read the partitions that are not read yet. Those that come later are read from their start, and one that cannot
// be read yet holds up no other.
func (f *follower) look(ctx context.Context, first bool) error {
	var failed []error
	for _, topic := range f.topics {
		partitions, err := f.client.Partitions(topic)
		if err != nil {
			return fmt.Errorf("partitions of topic %q: %w", topic, err)
		}
		for _, p := range partitions {
			if f.known[topic][p] {
				continue
			}
			err := f.read(topic, p, first)
			for n := 1; first && isYoung(err) && n <= 10 && sleep(ctx, pause(20*time.Millisecond, time.Second, n)); n++ {
				err = f.read(topic, p, first)
			}
			if err != nil {
				err = fmt.Errorf("topic %q, partition %d: %w", topic, p, err)
				if first {
					return err
				}
				failed = append(failed, err)
				continue
			}
			f.known[topic][p] = true
		}
	}
	return errors.Join(failed...)
}

// isYoung reports whether an error may be that of a new partition: it has a leader before that knows of it.
func isYoung(err error) bool {
	return errors.Is(err, sarama.ErrNotLeaderForPartition) || errors.Is(err, sarama.ErrLeaderNotAvailable) ||
		errors.Is(err, sarama.ErrUnknownTopicOrPartition)
}

// read claims a partition.
func (f *follower) read(topic string, partition int32, first bool) error {
	from, end, err := endsOf(f.client, topic, partition)
	if err != nil {
		return err
	}
	if first && f.conf.Start == Newest && f.caughtUp == nil {
		from = end
	}
	until := int64(-1)
	if first && end > from {
		until = end
	}
	return f.claim(topic, partition, from, until)
}

// claim reads a partition from an offset on.
func (f *follower) claim(topic string, partition int32, from, until int64) error {
	pc, err := f.consumer.ConsumePartition(topic, partition, from)
	if err != nil {
		return err //nolint:wrapcheck // The caller says what was being done.
	}
	c := newClaim(f.ctx, f.conf, f, soloSource{pc}, topic, partition, from)
	x := &followed{until: until}
	if until >= 0 {
		f.behind.Add(1)
	}
	f.mu.Lock()
	stopped := f.why
	f.claims[c] = x
	f.mu.Unlock()
	if stopped != nil {
		c.stop(stopped)
	}
	f.tally.claimed(c)
	if x.until >= 0 {
		f.all.Go(func() { f.chase(c) })
	}
	f.all.Go(func() {
		for err := range pc.Errors() {
			f.trouble(c, err)
		}
	})
	f.all.Go(func() {
		c.intake()
		c.stop(errOvertaken)
	})
	f.all.Go(func() {
		f.own(c)
		c.letGo()
		pc.AsyncClose()
		if errors.Is(c.why, errOvertaken) {
			f.again(c)
		}
		f.mu.Lock()
		delete(f.claims, c)
		f.mu.Unlock()
		f.tally.released(c)
	})
	return nil
}

// errOvertaken is why a claim ends whose client gives no more: its position is not on the partition any more.
var errOvertaken = fmt.Errorf("%w: the next message to be read was deleted", channel.ErrStopped)

// again begins to read a partition anew, at its oldest message, until that has worked or the follower stops.
func (f *follower) again(c *claim) {
	f.mu.Lock()
	until := f.claims[c].until
	f.claims[c].until = -1 // the next one is to catch up
	f.mu.Unlock()
	for n := 1; !f.isStopped(); n++ {
		err := f.anew(c, until)
		if err == nil {
			if until >= 0 {
				f.reached(1)
			}
			return
		}
		f.health.trouble(c.part(), fmt.Errorf("reading topic %q, partition %d anew: %w", c.topic, c.partition, err))
		f.sleep(pause(50*time.Millisecond, time.Second, n))
	}
}

func (f *follower) anew(c *claim, until int64) error {
	oldest, newest, err := endsOf(f.client, c.topic, c.partition)
	if err != nil {
		return err
	}
	if until = min(until, newest); until <= oldest { // nothing of what was there then is left
		until = -1
	}
	return f.claim(c.topic, c.partition, oldest, until)
}

func (f *follower) isStopped() bool {
	select {
	case <-f.stopping:
		return true
	default:
		return false
	}
}

func (f *follower) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.stopping:
	}
}

func (f *follower) trouble(c *claim, err error) {
	if errors.Is(err, sarama.ErrOffsetOutOfRange) {
		f.log.Error(saysOvertaken,
			"topic", c.topic, "partition", c.partition, "position", c.positionNow(), "error", err)
		return
	}
	if isRefusal(err) {
		if !f.isStopped() { // the error names every partition of the broker
			f.log.Error("reading without a group ends at a batch of records that cannot be read: read with a group, which goes on behind it, or delete it",
				"topics", f.topics, "error", err)
		}
		f.stop(fmt.Errorf("%w: %w", ErrRefused, err))
		return
	}
	f.health.trouble(c.part(), err)
}

// finished lets the window move on: there is nothing to commit.
func (f *follower) finished(c *claim, _ uint64) {
	to, _ := c.uncommitted()
	c.commit(to)
	f.passed(c, to.offset)
}

// passed notes where a claim has got to, and reports whether it is caught up.
func (f *follower) passed(c *claim, offset int64) bool {
	f.mu.Lock()
	x := f.claims[c]
	if x == nil {
		f.mu.Unlock()
		return true
	}
	now := x.until >= 0 && offset >= x.until
	if now {
		x.until = -1
	}
	caught := x.until < 0
	f.mu.Unlock()
	if now {
		f.reached(1)
	}
	return caught
}

// chase sees to it that a claim counts as caught up though the last that is on its partition is no message
// for anybody: the end of a transaction, or what an aborted one has left.
func (f *follower) chase(c *claim) {
	const every = 100 * time.Millisecond
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-f.stopping:
			return
		}
		at, idle := c.idleAt()
		if !idle {
			if f.passed(c, -1) {
				return
			}
			continue
		}
		for {
			b, err := c.probe(f.client, at)
			if err != nil || b.end <= at || len(b.messages) > 0 {
				break // the next time, or the client will bring them
			}
			at = b.end
		}
		if f.passed(c, at) {
			return
		}
	}
}

// arrived says that a partition is read.
func (f *follower) arrived(c *claim) { f.health.well(c.part()) }

// overdue has nothing to commit.
func (*follower) overdue(*claim) {}

// restart is for members of groups: a follower ends at what it cannot read.
func (*follower) restart() {}

// stop ends the follower: its claims give out nothing more.
func (f *follower) stop(why error) {
	f.mu.Lock()
	if f.why == nil {
		f.why = why
		f.late = time.AfterFunc(f.conf.ending(), f.lifeline.sever)
		close(f.stopping)
	}
	claims := make([]*claim, 0, len(f.claims))
	for c := range f.claims {
		claims = append(claims, c)
	}
	f.mu.Unlock()
	for _, c := range claims {
		c.stop(why)
	}
}

func (f *follower) wait() { <-f.done }

func (f *follower) lag(topic string) (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.claims {
		if c.topic == topic {
			n += c.lag()
		}
	}
	return n
}

// soloSource is a claim's source outside of a group.
type soloSource struct{ sarama.PartitionConsumer }

func (s soloSource) pause()  { s.Pause() }
func (s soloSource) resume() { s.Resume() }
