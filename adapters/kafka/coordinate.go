package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// coordinatorTries is how often a coordinator is asked: for about 5 s, and for as long as its answers take.
const coordinatorTries = 30

// A coordinator is a broker that has to be found.
type coordinator struct {
	find     func() (*sarama.Broker, error)
	forget   func() error
	fences   bool         // what old versions of it call an invalid epoch is a fence
	doubtful *atomic.Bool // set when it has not answered
}

// ask asks until there is an answer that asking again would not change. What is asked may be asked twice.
func (c coordinator) ask(ctx context.Context, question func(*sarama.Broker) (sarama.KError, error)) error {
	for n := 1; ; n++ {
		err := c.once(question)
		if err == nil || !isPassing(err) || n >= coordinatorTries {
			return err
		}
		if !sleep(ctx, pause(2*time.Millisecond, 300*time.Millisecond, n)) {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

func (c coordinator) once(question func(*sarama.Broker) (sarama.KError, error)) error {
	broker, err := c.find()
	if err != nil {
		return err
	}
	code, err := question(broker)
	if err != nil {
		c.doubtful.Store(true)
		_ = broker.Close()
		_ = c.forget()
		return err
	}
	switch code { //nolint:exhaustive // The others say nothing of who answers.
	case sarama.ErrNoError:
		return nil
	case sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable:
		_ = c.forget()
	case sarama.ErrInvalidProducerEpoch:
		if c.fences {
			return sarama.ErrProducerFenced
		}
	}
	return code
}

// isPassing reports whether it helps to ask again.
func isPassing(err error) bool {
	if errors.Is(err, sarama.ErrClosedClient) {
		return false
	}
	var code sarama.KError
	if !errors.As(err, &code) {
		return true // a connection has broken
	}
	switch code { //nolint:exhaustive // The others are for good.
	case sarama.ErrConcurrentTransactions, sarama.ErrOffsetsLoadInProgress, sarama.ErrNotCoordinatorForConsumer,
		sarama.ErrConsumerCoordinatorNotAvailable, sarama.ErrRequestTimedOut, sarama.ErrNetworkException, sarama.ErrUnknownTopicOrPartition,
		sarama.ErrLeaderNotAvailable, sarama.ErrNotLeaderForPartition, sarama.ErrReplicaNotAvailable, sarama.ErrNotEnoughReplicas,
		sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrKafkaStorageError, sarama.ErrUnstableOffsetCommit, sarama.ErrThrottlingQuotaExceeded:
		return true
	}
	return false
}

// A membership makes a writer one of transactions, under a transactional id.
type membership struct {
	client   sarama.Client
	id       string
	me       identity
	begun    atomic.Bool // a coordinator may know of the transaction
	doubtful atomic.Bool // one has not answered, and may still do what it was asked to

	// By run of the writer.
	number int   // of the transaction: a partition is enlisted in each that writes to it
	failed error // why the transaction comes to nothing, and so the writer with it
}

func (m *membership) coordinator() coordinator {
	return coordinator{
		find:   func() (*sarama.Broker, error) { return m.client.TransactionCoordinator(m.id) },
		forget: func() error { return m.client.RefreshTransactionCoordinator(m.id) },
		fences: true, doubtful: &m.doubtful,
	}
}

// groupCoordinator is that of a group whose offsets are part of the transaction.
func (m *membership) groupCoordinator(group string) coordinator {
	return coordinator{
		find:     func() (*sarama.Broker, error) { return m.client.Coordinator(group) },
		forget:   func() error { return m.client.RefreshCoordinator(group) },
		doubtful: &m.doubtful,
	}
}

// begin is called before each transaction.
func (m *membership) begin() {
	m.begun.Store(false)
	m.doubtful.Store(false)
}

// txnVersion is that of requests about transactions.
func txnVersion(c sarama.Client) int16 {
	switch v := c.Config().Version; {
	case v.IsAtLeast(sarama.V2_8_0_0):
		return 3
	case v.IsAtLeast(sarama.V2_7_0_0):
		return 2 // knows ErrProducerFenced
	}
	return 1
}

// identify asks for the transactional id's identity, which ends the one that was.
func (m *membership) identify(ctx context.Context, timeout time.Duration) error {
	req := &sarama.InitProducerIDRequest{Version: 3, TransactionalID: &m.id, TransactionTimeout: timeout, ProducerID: -1, ProducerEpoch: -1}
	if m.client.Config().Version.IsAtLeast(sarama.V2_7_0_0) {
		req.Version = 4
	}
	return m.coordinator().ask(ctx, func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.InitProducerID(req)
		if err != nil {
			return 0, err //nolint:wrapcheck // It is looked at first.
		}
		m.me = identity{res.ProducerID, res.ProducerEpoch}
		return res.Err, nil
	})
}

// enlist makes partitions part of the transaction. Else it says of each why not: for its own sake, or for another's, without
// which the coordinator takes none.
func (m *membership) enlist(ps []*partition) []error {
	req := &sarama.AddPartitionsToTxnRequest{
		Version: txnVersion(m.client), TransactionalID: m.id, ProducerID: m.me.id, ProducerEpoch: m.me.epoch, TopicPartitions: map[string][]int32{},
	}
	for _, p := range ps {
		req.TopicPartitions[p.of.name] = append(req.TopicPartitions[p.of.name], p.number)
	}
	var said map[string][]*sarama.PartitionError
	err := m.coordinator().ask(context.Background(), func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.AddPartitionsToTxn(req)
		if err != nil {
			return 0, err //nolint:wrapcheck // It is looked at first.
		}
		said = res.Errors
		return firstError(said), nil
	})
	m.begun.Store(true) // even so: the answer may be lost
	errs := make([]error, len(ps))
	if err == nil {
		return errs
	}
	for i, p := range ps {
		why := fmt.Errorf("%w: %w", errBesides, err)
		for _, e := range said[p.of.name] {
			if own := reason(p.of.name, e.Err); e.Partition == p.number && isOwn(own) {
				why = own
			}
		}
		errs[i] = fmt.Errorf("adding partitions to a transaction: %w", why)
	}
	return errs
}

// addOffsets makes the groups' offsets part of the transaction.
func (m *membership) addOffsets(ctx context.Context, stakes []*stake) error {
	for _, x := range stakes {
		if len(x.claims) == 0 {
			continue
		}
		if err := m.addStake(ctx, x); err != nil {
			return fmt.Errorf("adding offsets of group %q to a transaction: %w", x.member.conf.Group, err)
		}
	}
	return nil
}

func (m *membership) addStake(ctx context.Context, x *stake) error {
	group := x.member.conf.Group
	add := &sarama.AddOffsetsToTxnRequest{
		Version: txnVersion(m.client), TransactionalID: m.id, ProducerID: m.me.id, ProducerEpoch: m.me.epoch, GroupID: group,
	}
	err := m.coordinator().ask(ctx, func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.AddOffsetsToTxn(add)
		if err != nil {
			return 0, err //nolint:wrapcheck // It is looked at first.
		}
		return res.Err, nil
	})
	m.begun.Store(true)
	if err != nil {
		return err
	}
	commit := &sarama.TxnOffsetCommitRequest{
		Version: 3, TransactionalID: m.id, GroupID: group, ProducerID: m.me.id, ProducerEpoch: m.me.epoch,
		MemberID: x.session.MemberID(), GenerationID: x.session.GenerationID(), Topics: x.offsets(),
	}
	// The coordinator looks at the generation, not at who owns what in it, and a session goes on in the next one. So it is
	// read before the claims are looked at: what is ours after that was so in this generation.
	if err := x.lost(); err != nil {
		return err
	}
	if id := x.member.conf.Instance; id != "" {
		commit.GroupInstanceID = &id
	}
	return m.groupCoordinator(group).ask(ctx, func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.TxnOffsetCommit(commit)
		if err != nil {
			return 0, err //nolint:wrapcheck // It is looked at first.
		}
		x.shorten(res.Topics)
		return firstError(res.Topics), nil
	})
}

// end commits a transaction or aborts it, if there is anything in it.
func (m *membership) end(ctx context.Context, commit bool) error {
	if !m.begun.Load() {
		return nil
	}
	req := &sarama.EndTxnRequest{
		Version: txnVersion(m.client), TransactionalID: m.id, ProducerID: m.me.id, ProducerEpoch: m.me.epoch, TransactionResult: commit,
	}
	return m.coordinator().ask(ctx, func(b *sarama.Broker) (sarama.KError, error) {
		res, err := b.EndTxn(req)
		if err != nil {
			return 0, err //nolint:wrapcheck // It is looked at first.
		}
		return res.Err, nil
	})
}

// firstError is the first of partitions' errors that says anything.
func firstError(of map[string][]*sarama.PartitionError) sarama.KError {
	for _, es := range of {
		for _, e := range es {
			if e.Err != sarama.ErrNoError && e.Err != sarama.ErrOperationNotAttempted {
				return e.Err
			}
		}
	}
	return sarama.ErrNoError
}
