package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

var _ adapters.Transactor = (*Publisher)(nil)

// transactions are what a publisher has for transactions: a writer beside that for everything else.
type transactions struct {
	one    sync.Mutex // one transaction at a time
	id     string     // "": it has none yet
	fenced error
	closed bool

	since  time.Time      // the transaction is under way, by the clock on the wall: the other stands still while a machine sleeps
	writer *writer        // nil: the next transaction makes one
	sends  *sends         // the writer's
	gone   sync.WaitGroup // writers thrown away that are still closing
}

// sends are the messages of one transaction after another.
type sends struct {
	left    atomic.Int64
	through chan struct{}
	failed  atomic.Pointer[pending] // the first
}

func (s *sends) settle(xs []*pending) {
	for _, x := range xs {
		if x.err != nil {
			s.failed.CompareAndSwap(nil, x)
		}
	}
	if s.left.Add(-int64(len(xs))) == 0 {
		close(s.through)
	}
}

// Recover is documented at adapters.Transactor. A publisher without a TransactionalID has one of the first subscriber
// that has an Instance, from the first that succeeds on. It gives up after SendTimeout.
func (p *Publisher) Recover(ctx context.Context, subs []message.Subscriber) error {
	t := &p.tx
	t.one.Lock()
	defer t.one.Unlock()
	named := t.id != ""
	if !named {
		t.id = transactionalID(subs)
	}
	if err := t.usable(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.conf.SendTimeout)
	defer cancel()
	if err := t.ready(ctx, p); err != nil {
		if !named { // another flow has another name
			t.id = ""
		}
		return fmt.Errorf("ending what an earlier publisher has left of a transaction: %w", err)
	}
	return nil
}

// transactionalID makes one of a group and an instance, for they are the same after a restart.
func transactionalID(subs []message.Subscriber) string {
	for _, sub := range subs {
		if s, ok := adapters.As[*Subscriber](sub); ok && s.conf.Instance != "" {
			return s.conf.Group + "-" + s.conf.Instance
		}
	}
	return ""
}

// Transact is documented at adapters.Transactor: the consumer group's offsets are part of the transaction, and
// the group's coordinator refuses those of a member that has lost its partitions (KIP-447). An error that is
// neither adapters.ErrLost nor adapters.ErrFenced means that the transaction was aborted. It returns only when it
// knows which it was, or when ctx ends before that: then with adapters.ErrLost, since only the broker knows.
func (p *Publisher) Transact(ctx context.Context, finished []adapters.Finished, outs []*adapters.Outgoing) error {
	t := &p.tx
	t.one.Lock()
	defer t.one.Unlock()
	if err := t.usable(); err != nil {
		return err
	}
	n, refused := p.measure(outs)
	if refused != nil {
		return refused[0].Err
	}
	stakes, err := stakesOf(finished)
	if err != nil {
		return err
	}
	if err := t.ready(ctx, p); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	t.writer.transaction.begin()
	// The broker aborts what takes longer.
	bounded, cancel := context.WithTimeout(ctx, p.conf.TransactionTimeout)
	defer cancel()
	added := make(chan error, 1)
	go func() { added <- t.writer.transaction.addOffsets(bounded, stakes) }()
	err = t.send(bounded, outs, n)
	err = errors.Join(err, <-added)
	if err != nil {
		return t.abort(ctx, p, outs, err)
	}
	if err := t.writer.transaction.end(bounded, true); err != nil {
		if err := t.resolve(ctx, p, stakes, err); err != nil {
			return err
		}
	}
	for _, x := range stakes {
		x.settle()
	}
	if t.writer.transaction.doubtful.Load() { // what is still on its way is not to reach the next transaction
		t.discard()
	}
	return nil
}

// A stake is what one member of a group has in a transaction.
type stake struct {
	member   *member
	session  sarama.ConsumerGroupSession
	finished []adapters.Finished
	claims   []*claim
	marks    []mark // behind each claim's records
}

var errForeignClaim = errors.New("claim is not of a Kafka consumer group: give the flow a Subscriber of this package, with a group")

// stakesOf sorts what is finished by members, and refuses what is no longer theirs.
func stakesOf(finished []adapters.Finished) (stakes []*stake, err error) {
	for _, f := range finished {
		c, ok := f.Claim.(*claim)
		if !ok {
			return nil, errForeignClaim
		}
		m, ok := c.owner.(*member)
		if !ok {
			return nil, errForeignClaim
		}
		if err := c.errLost(); err != nil {
			return nil, err
		}
		var x *stake
		for _, known := range stakes {
			if known.member == m {
				x = known
			}
		}
		if x == nil {
			m.mu.Lock()
			x = &stake{member: m, session: m.session}
			m.mu.Unlock()
			if x.session == nil {
				return nil, fmt.Errorf("topic %q, partition %d: %w", c.topic, c.partition, adapters.ErrLost)
			}
			stakes = append(stakes, x)
		}
		if len(f.Records) == 0 {
			continue
		}
		x.finished = append(x.finished, f)
		x.claims = append(x.claims, c)
		x.marks = append(x.marks, c.markOf(f.Records))
	}
	return stakes, nil
}

func (x *stake) offsets() map[string][]*sarama.PartitionOffsetMetadata {
	all := map[string][]*sarama.PartitionOffsetMetadata{}
	for i, c := range x.claims {
		to := x.marks[i]
		all[c.topic] = append(all[c.topic], &sarama.PartitionOffsetMetadata{
			Partition: c.partition, Offset: to.offset, LeaderEpoch: -1, Metadata: &x.marks[i].note,
		})
	}
	return all
}

// shorten has claims say less whose notes were too long, when the transaction is tried again.
func (x *stake) shorten(said map[string][]*sarama.PartitionError) {
	for _, c := range x.claims {
		for _, e := range said[c.topic] {
			if e.Partition == c.partition && e.Err == sarama.ErrOffsetMetadataTooLarge {
				c.sayLess()
			}
		}
	}
}

// lost gives an error if one of the claims is another's.
func (x *stake) lost() error {
	for _, c := range x.claims {
		if err := c.errLost(); err != nil {
			return err
		}
	}
	return nil
}

func (x *stake) settle() {
	for i, c := range x.claims {
		c.finishCommitted(x.finished[i].Records, x.marks[i])
	}
}

// usable gives an error if there can be no transaction any more.
func (t *transactions) usable() error {
	switch {
	case t.closed:
		return fmt.Errorf("beginning a transaction: %w: this publisher was closed", adapters.ErrClosed)
	case t.fenced != nil:
		return t.fenced
	case t.id == "":
		return errNameless
	}
	return nil
}

// ready makes the writer if there is none.
func (t *transactions) ready(ctx context.Context, p *Publisher) error {
	t.since = time.Now().Round(0)
	if t.writer != nil {
		return nil
	}
	if err := t.connect(ctx, p); err != nil {
		return t.fence(p, err)
	}
	return nil
}

// connect makes a writer. It ends the transaction that an earlier one of the same name has left.
func (t *transactions) connect(ctx context.Context, p *Publisher) error {
	s := &sends{}
	w := newWriter(&p.conf, s.settle)
	if err := w.connect(ctx); err != nil {
		return err
	}
	w.transaction = &membership{client: w.client, id: t.id}
	if err := w.transaction.identify(ctx, p.conf.TransactionTimeout); err != nil {
		_ = w.client.Close()
		return fmt.Errorf("transactional id %q: %w", t.id, err)
	}
	w.identity = &w.transaction.me
	t.writer, t.sends = w, s
	go w.run()
	return nil
}

var errNameless = wrong("TransactionalID is empty: give one that is the same after a restart and another in every other process; " +
	"or give the SubscriberConfig an Instance, and it is made of group and instance")

// errUnanswered is why a transaction is aborted, and its writer thrown away.
var errUnanswered = errors.New("messages were not acknowledged in time")

// send hands every message to the writer and waits until all are written.
func (t *transactions) send(ctx context.Context, outs []*adapters.Outgoing, n size) error {
	if len(outs) == 0 {
		return nil
	}
	of := newParcel(n)
	for _, o := range outs {
		of.put(o)
	}
	s := t.sends
	s.through = make(chan struct{})
	s.left.Store(int64(len(outs)))
	w := t.writer
	w.do(func() { w.transaction.number++ })
	w.write(of)
	select {
	case <-s.through:
	case <-ctx.Done():
		t.giveUp(of, context.Cause(ctx))
		return fmt.Errorf("%w: %w", errUnanswered, context.Cause(ctx))
	}
	x := s.failed.Load()
	if x == nil {
		return nil
	}
	for i := range of.items { // not before all is settled: then nobody else touches them
		if x := &of.items[i]; x.err != nil && isOwn(x.err) {
			x.out.Err = x.err
		}
	}
	return x.err
}

// giveUp has what is not settled say that this is why the transaction comes to nothing, and so what was refused until now.
func (t *transactions) giveUp(of *parcel, why error) {
	errs := map[string]error{} // by topic
	for i := range of.items {
		x := &of.items[i]
		if x.state.Swap(settled) == settled {
			continue
		}
		if errs[x.topic] == nil {
			errs[x.topic] = fmt.Errorf("topic %q: %w: %w", x.topic, errUnanswered, errors.Join(why, t.writer.trouble(x.topic)))
		}
		x.out.Err = errs[x.topic]
	}
	if x := t.sends.failed.Load(); x != nil && isOwn(x.err) {
		x.out.Err = x.err
	}
}

// errBesides is why a message was not sent whose transaction came to nothing for another's sake.
var errBesides = errors.New("in a transaction that came to nothing")

// isOwn reports whether an error is about the message itself, or its topic.
func isOwn(err error) bool {
	return !errors.Is(err, errBesides) && (channel.IsPermanent(err) || errors.Is(err, ErrNoTopic) || errors.Is(err, sarama.ErrTopicAuthorizationFailed))
}

// abort ends a transaction that came to nothing, and says why. Unless all that was asked was answered, and nothing was
// refused that had been written, the writer goes with it: the next one has an identity that what is still on its way has
// not.
func (t *transactions) abort(ctx context.Context, p *Publisher, outs []*adapters.Outgoing, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.conf.TransactionTimeout)
	defer cancel()
	clean := t.sends.failed.Load() == nil && !errors.Is(why, errUnanswered)
	if !errors.Is(why, errUnanswered) { // else the writer still has messages
		err := t.writer.transaction.end(ctx, false)
		clean = clean && err == nil && !t.writer.transaction.doubtful.Load()
		if errors.Is(err, sarama.ErrProducerFenced) {
			why = errors.Join(why, err)
		}
	}
	if !clean {
		t.discard()
	}
	if why = t.fence(p, why); errors.Is(why, adapters.ErrFenced) {
		return fmt.Errorf("the transaction was aborted: %w", why)
	}
	for _, o := range outs {
		if o.Err != nil {
			return o.Err
		}
	}
	return fmt.Errorf("the transaction was aborted: %w", why)
}

// fence makes an error adapters.ErrFenced if it means that. The broker says the same of a transaction that has taken
// longer than it may, which it has aborted.
func (t *transactions) fence(p *Publisher, err error) error {
	if errors.Is(err, sarama.ErrProducerFenced) && time.Since(t.since) < p.conf.TransactionTimeout {
		t.fenced = fmt.Errorf("transactional id %q: %w: give every process its own TransactionalID, or SubscriberConfig.Instance: %w", t.id, adapters.ErrFenced, err)
		return t.fenced
	}
	return err
}

// resolve finds out what became of a commit whose answer was lost: a new writer of the same name has the
// broker finish or abort the transaction, and the group's offsets tell which it was. It tries until ctx ends
// or the partitions are another's.
func (t *transactions) resolve(ctx context.Context, p *Publisher, stakes []*stake, why error) error {
	t.discard()
	if err := t.fence(p, why); errors.Is(err, adapters.ErrFenced) { // the other has finished it, or aborted it
		return fmt.Errorf("committing a transaction: %w", err)
	}
	for n := 1; ; n++ {
		committed, err := t.look(ctx, p, stakes)
		switch {
		case err == nil && committed:
			return nil
		case err == nil:
			return fmt.Errorf("the transaction was aborted: %w", why)
		case errors.Is(err, adapters.ErrFenced):
			return err
		}
		if allLost(stakes) || errors.Is(err, adapters.ErrLost) {
			return fmt.Errorf("committing a transaction: %w: %w", adapters.ErrLost, why)
		}
		if !sleep(ctx, pause(50*time.Millisecond, time.Second, n)) {
			return fmt.Errorf("committing a transaction: %w: %w", adapters.ErrLost, why)
		}
	}
}

// allLost reports whether every claim in a transaction is another's: then only the broker knows what became
// of it, and nobody here has to.
func allLost(stakes []*stake) bool {
	lost := false
	for _, x := range stakes {
		for _, c := range x.claims {
			if !c.isLost() {
				return false
			}
			lost = true
		}
	}
	return lost
}

// look asks whether a transaction was committed: whether the group's offsets are at its end. All offsets move
// together or none does, so one that has not moved says that it was aborted. A claim that is lost says nothing:
// its new owner may have moved its offset. One that is lost without our knowing does no harm: with another that is
// ours the answer is right, and without one the new owners begin where the transaction began, if it was aborted.
func (t *transactions) look(ctx context.Context, p *Publisher, stakes []*stake) (bool, error) {
	if t.writer == nil {
		if err := t.connect(ctx, p); err != nil {
			return false, t.fence(p, err)
		}
	}
	judged, committed := false, true
	for _, x := range stakes {
		offsets, err := t.offsets(x)
		if err != nil {
			return false, err
		}
		for i, c := range x.claims {
			if c.isLost() { // asked for behind the offset
				continue
			}
			if offsets[i] > x.marks[i].offset { // only another's commit goes beyond ours
				continue
			}
			judged = true
			committed = committed && offsets[i] == x.marks[i].offset
		}
	}
	if !judged {
		return false, adapters.ErrLost
	}
	return committed, nil
}

// offsets asks the group's coordinator how far it is in each claim of a stake.
func (t *transactions) offsets(x *stake) ([]int64, error) {
	if len(x.claims) == 0 {
		return nil, nil
	}
	topics := map[string][]int32{}
	for _, c := range x.claims {
		topics[c.topic] = append(topics[c.topic], c.partition)
	}
	resp, err := fetchCommitted(t.writer.client, x.member.conf.Group, topics)
	if err != nil {
		return nil, err
	}
	all := make([]int64, len(x.claims))
	for i, c := range x.claims {
		b := resp.GetBlock(c.topic, c.partition)
		if b == nil || !errors.Is(b.Err, sarama.ErrNoError) {
			return nil, fmt.Errorf("offset of %s: %w", place(c.topic, c.partition, x.marks[i].offset), sarama.ErrUnstableOffsetCommit)
		}
		all[i] = b.Offset
	}
	return all, nil
}

// discard throws the writer away, whatever it still has.
func (t *transactions) discard() {
	w := t.writer
	if w == nil {
		return
	}
	t.writer, t.sends = nil, nil
	t.gone.Go(w.close)
}

func (t *transactions) close() {
	t.one.Lock()
	defer t.one.Unlock()
	t.closed = true
	t.discard()
	t.gone.Wait()
}
