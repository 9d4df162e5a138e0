package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// beginNow commits, for a group without members, that it begins at the ends of a topic's partitions, but for those
// where it has begun. The members of one that has any do so themselves.
func (s *Subscriber) beginNow(ctx context.Context, topic string) error {
	conf, err := s.conf.config()
	if err != nil {
		return err
	}
	client, err := s.conf.Cluster.connect(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	until := time.Now().Add(s.conf.SessionTimeout)
	for n := 1; ; n++ {
		err := s.conf.beginNow(client, topic)
		if err == nil {
			return nil
		}
		if time.Now().After(until) || !sleep(ctx, pause(20*time.Millisecond, 500*time.Millisecond, n)) {
			return fmt.Errorf("committing that group %q begins at the end of topic %q: %w", s.conf.Group, topic, err)
		}
		_ = client.RefreshCoordinator(s.conf.Group)
	}
}

func (c *SubscriberConfig) beginNow(client sarama.Client, topic string) error {
	partitions, err := client.Partitions(topic)
	if err != nil {
		return err //nolint:wrapcheck // The caller says what was being done.
	}
	committed, err := fetchCommitted(client, c.Group, map[string][]int32{topic: partitions})
	if err != nil {
		return err
	}
	req := sarama.NewOffsetCommitRequest(client.Config(), c.Group)
	req.ConsumerGroupGeneration = sarama.GroupGenerationUndefined
	nothing := true
	for _, p := range partitions {
		b := committed.GetBlock(topic, p)
		switch {
		case b == nil: // of a group that there is not
		case !errors.Is(b.Err, sarama.ErrNoError):
			return b.Err
		case b.Offset >= 0:
			continue
		}
		end, err := client.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			return err //nolint:wrapcheck // As above.
		}
		req.AddBlockWithLeaderEpoch(topic, p, end, -1, 0, "")
		nothing = false
	}
	if nothing {
		return nil
	}
	broker, err := client.Coordinator(c.Group)
	if err != nil {
		return err //nolint:wrapcheck // As above.
	}
	resp, err := broker.CommitOffset(req)
	if err != nil {
		_ = broker.Close()
		return err //nolint:wrapcheck // As above.
	}
	for _, kerr := range resp.Errors[topic] {
		switch {
		case errors.Is(kerr, sarama.ErrNoError):
		case errors.Is(kerr, sarama.ErrUnknownMemberId), errors.Is(kerr, sarama.ErrIllegalGeneration), errors.Is(kerr, sarama.ErrRebalanceInProgress):
			return nil // it has members
		default:
			return kerr
		}
	}
	return nil
}
