package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// finished has offsets committed at once when a quarter of the window waits for it; else the next
// interval will do.
func (m *member) finished(_ *claim, uncommitted uint64) {
	if uncommitted >= uint64(max(m.conf.Window/4, 1)) {
		nudge(m.kick)
	}
}

// commits has what is finished committed, until the member has left the group.
func (m *member) commits(ended <-chan struct{}) {
	t := time.NewTicker(m.conf.CommitInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-m.kick:
		case <-ended:
			return
		}
		m.mu.Lock()
		claims := make([]*claim, 0, len(m.claims))
		for c := range m.claims {
			claims = append(claims, c)
		}
		m.mu.Unlock()
		if err := m.commit(claims...); err != nil {
			m.health.trouble(part{}, err)
		}
	}
}

// commitLast commits what a claim has finished before it is let go, trying for as long as the partition may be
// this member's still: while a rebalance is under way, that is until every other member has joined it.
func (m *member) commitLast(c *claim) {
	until := time.Now().Add(max(m.conf.SessionTimeout, m.conf.DrainTimeout))
	for n := 1; ; n++ {
		err := m.commit(c)
		if err == nil {
			return
		}
		if c.isLost() || time.Now().After(until) {
			m.log.Warn("finished messages are not committed: they are delivered again", "topic", c.topic, "partition", c.partition, "error", err)
			return
		}
		_ = sleep(c.ctx, pause(20*time.Millisecond, 500*time.Millisecond, n))
	}
}

// overdue is documented at owner.
func (m *member) overdue(c *claim) {
	if err := m.commit(c); err != nil {
		m.log.Warn("finished messages are not committed: they are delivered again", "topic", c.topic, "partition", c.partition, "error", err)
	}
}

// commit tells the group's coordinator how far claims are finished, in one request.
func (m *member) commit(claims ...*claim) error {
	m.committing.Lock()
	defer m.committing.Unlock()
	m.mu.Lock()
	session := m.session
	m.mu.Unlock()
	if session == nil {
		return nil
	}
	type upTo struct {
		claim *claim
		mark  mark
	}
	var todo []upTo
	req := sarama.NewOffsetCommitRequest(m.desk.Config(), m.conf.Group)
	req.ConsumerID, req.ConsumerGroupGeneration = session.MemberID(), session.GenerationID()
	if m.conf.Instance != "" {
		req.GroupInstanceId = &m.conf.Instance
	}
	for _, c := range claims {
		if to, ok := c.uncommitted(); ok && !c.isLost() {
			todo = append(todo, upTo{c, to})
			req.AddBlockWithLeaderEpoch(c.topic, c.partition, to.offset, -1, 0, to.note)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	broker, err := m.desk.Coordinator(m.conf.Group)
	if err != nil {
		return fmt.Errorf("committing offsets: finding the coordinator: %w", err)
	}
	resp, err := broker.CommitOffset(req)
	if err != nil {
		_ = broker.Close()
		_ = m.desk.RefreshCoordinator(m.conf.Group)
		return fmt.Errorf("committing offsets: %w", err)
	}
	var errs []error
	for _, u := range todo {
		kerr, ok := resp.Errors[u.claim.topic][u.claim.partition]
		switch {
		case !ok:
			kerr = sarama.ErrUnknown
			fallthrough
		case !errors.Is(kerr, sarama.ErrNoError):
			errs = append(errs, m.notCommitted(u.claim, kerr))
		default:
			u.claim.commit(u.mark)
		}
	}
	if len(errs) == 0 {
		m.health.committed()
	}
	return errors.Join(errs...)
}

// notCommitted says what an answer means: that the coordinator has moved, that the note was too long, that a rebalance is
// under way and the next try will do, or that the partition is another's.
func (m *member) notCommitted(c *claim, err sarama.KError) error {
	switch {
	case errors.Is(err, sarama.ErrNotCoordinatorForConsumer), errors.Is(err, sarama.ErrConsumerCoordinatorNotAvailable):
		_ = m.desk.RefreshCoordinator(m.conf.Group)
	case errors.Is(err, sarama.ErrOffsetMetadataTooLarge):
		c.sayLess()
	case errors.Is(err, sarama.ErrUnknownMemberId), errors.Is(err, sarama.ErrFencedInstancedId):
		m.lose(c, err)
	}
	return fmt.Errorf("committing offsets of topic %q, partition %d: %w", c.topic, c.partition, err)
}
