package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/IBM/sarama"
)

// A cooperative rebalance takes a partition from its owner in one generation of the group and gives it to another in
// the next, which begins when the old owner joins again, having let go (KIP-429). A named member that dies in between
// is not missed: who comes back under its name takes over its place without a rebalance (KIP-345), and does not know
// that it owes one. The partition would be nobody's until the next rebalance, whenever that is. So a named member
// asks, when it is there and from time to time, whether every partition of its topics has somebody.

var errOrphans = errors.New("partitions of the group are nobody's: joining anew, so that they are shared out")

// mind has the member join anew when partitions are nobody's, until the session ends. A member's first session asks at
// once, the others after a while: else a group whose leader leaves partitions out for good would never come to rest.
func (m *member) mind(ctx context.Context, end context.CancelCauseFunc, atOnce bool) {
	for failures := 0; ; {
		after := m.conf.RefreshInterval
		if failures > 0 {
			after = min(after, pause(m.conf.HeartbeatInterval/10, m.conf.HeartbeatInterval, failures))
		}
		if !atOnce && !sleep(ctx, after) {
			return
		}
		atOnce = false
		orphans, err := m.orphans()
		switch {
		case err != nil:
			failures++
		case len(orphans) > 0:
			m.log.Warn("Kafka consumer joins its group anew", "topics", orphans, "error", errOrphans)
			endSession(end, errOrphans)
			return
		default:
			failures = 0
		}
	}
}

// orphans gives the topics of the member with partitions that nobody has, nor is about to let go of. While the group is
// rebalancing there are none: they are being shared out.
func (m *member) orphans() ([]string, error) {
	broker, err := m.desk.Coordinator(m.conf.Group)
	if err != nil {
		return nil, err //nolint:wrapcheck // Nobody sees it.
	}
	resp, err := broker.DescribeGroups(&sarama.DescribeGroupsRequest{Version: describeVersion, Groups: []string{m.conf.Group}})
	if err != nil {
		_ = broker.Close()
		_ = m.desk.RefreshCoordinator(m.conf.Group)
		return nil, err //nolint:wrapcheck // As above.
	}
	if len(resp.Groups) != 1 {
		return nil, fmt.Errorf("%d groups were described, want 1", len(resp.Groups))
	}
	g := resp.Groups[0]
	if !errors.Is(g.Err, sarama.ErrNoError) {
		_ = m.desk.RefreshCoordinator(m.conf.Group)
		return nil, g.Err
	}
	if g.State != "Stable" {
		return nil, nil
	}
	had, err := holders(g)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	topics := make([]string, 0, len(m.reads))
	for t := range m.reads {
		topics = append(topics, t)
	}
	m.mu.Unlock()
	var orphans []string
	for _, t := range topics {
		partitions, err := m.desk.Partitions(t)
		if err != nil {
			return nil, err //nolint:wrapcheck // As above.
		}
		if slices.ContainsFunc(partitions, func(p int32) bool { return !had[part{topic: t, partition: p}] }) {
			orphans = append(orphans, t)
		}
	}
	slices.Sort(orphans)
	return orphans, nil
}

// describeVersion is the version of DescribeGroups that every broker since 2.3 understands.
const describeVersion = 3

// holders gives the partitions that a member has, or had when it joined, and will let go of.
func holders(g *sarama.GroupDescription) (map[part]bool, error) {
	had := map[part]bool{}
	for id, x := range g.Members {
		has, err := x.GetMemberAssignment()
		if err != nil {
			return nil, fmt.Errorf("the assignment of member %q: %w", id, err)
		}
		joined, err := x.GetMemberMetadata()
		if err != nil {
			return nil, fmt.Errorf("the subscription of member %q: %w", id, err)
		}
		if has != nil {
			for t, ps := range has.Topics {
				for _, p := range ps {
					had[part{topic: t, partition: p}] = true
				}
			}
		}
		if joined == nil {
			continue
		}
		for _, o := range joined.OwnedPartitions {
			for _, p := range o.Partitions {
				had[part{topic: o.Topic, partition: p}] = true
			}
		}
	}
	return had, nil
}
