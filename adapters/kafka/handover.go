package kafka

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// A committed offset does not say whether what lies behind it has been delivered. So each commit of ours says in its
// metadata how many messages behind it may be out: an owner says "as many as the window has" before it gives out the
// first, and at its end how many it has left. Who owns the partition next marks so many as possibly delivered before
// (adapters.Record.Doubtful): all of a window after an owner that was killed, nothing after one that drained. Other
// clients neither write such a note nor mind it.

const noteOut = "leat-out:"

func noteOf(out uint64) string {
	if out == 0 {
		return ""
	}
	return noteOut + strconv.FormatUint(out, 10)
}

// outOf reads a note, whoever wrote it.
func outOf(note string) uint64 {
	digits, _ := strings.CutPrefix(note, noteOut)
	if len(digits) == len(note) {
		return 0
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// A stage is how far a claim of a group is from the owner before to the next.
type stage uint8

const (
	arrived   stage = iota // nobody knows yet what the owner before has left
	inherited              // that is known, and not yet committed that there is a new owner
	owned                  // it is, and records are given out
	leaving                // nothing more is given out, and what is not finished will not be
)

// takeOver reads what the last owner of a claim's partition said of it, and commits where this one begins, before it
// gives out anything. That settles, too, where a group begins that has committed nothing: "the newest message" is another
// one at every asking, and whoever owned the partition next would begin behind what has come meanwhile.
func (m *member) takeOver(c *claim) error {
	until := time.Now().Add(m.conf.SessionTimeout)
	for n := 1; ; n++ {
		err := m.inherit(c)
		if err == nil {
			err = m.commit(c)
		}
		if err == nil || c.isStopping() {
			return nil
		}
		if time.Now().After(until) || !sleep(c.ctx, pause(20*time.Millisecond, 500*time.Millisecond, n)) {
			return fmt.Errorf("committing where group %q begins: %w", m.conf.Group, err)
		}
	}
}

// inherit has the claim mark what the last owner may have delivered.
func (m *member) inherit(c *claim) error {
	resp, err := fetchCommitted(m.desk, m.conf.Group, map[string][]int32{c.topic: {c.partition}})
	if err != nil {
		return err
	}
	b := resp.GetBlock(c.topic, c.partition)
	if b != nil && !errors.Is(b.Err, sarama.ErrNoError) {
		return fmt.Errorf("what was committed of topic %q, partition %d: %w", c.topic, c.partition, b.Err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage != arrived {
		return nil
	}
	c.stage = inherited
	if b != nil && b.Offset == c.offset {
		c.doubtful = outOf(b.Metadata)
	}
	return nil
}

// fetchCommitted asks the coordinator of a group how far it is, with what transactions that are under way will say.
func fetchCommitted(client sarama.Client, group string, topics map[string][]int32) (*sarama.OffsetFetchResponse, error) {
	broker, err := client.Coordinator(group)
	if err != nil {
		return nil, fmt.Errorf("finding the coordinator of group %q: %w", group, err)
	}
	req := sarama.NewOffsetFetchRequest(client.Config().Version, group, topics)
	req.RequireStable = true
	resp, err := broker.FetchOffset(req)
	if err != nil {
		_ = broker.Close() // or it would fail for ever
		_ = client.RefreshCoordinator(group)
		return nil, fmt.Errorf("asking for the offsets of group %q: %w", group, err)
	}
	if kerr := resp.GroupError(); !errors.Is(kerr, sarama.ErrNoError) && !errors.Is(kerr, sarama.ErrGroupIDNotFound) {
		_ = client.RefreshCoordinator(group)
		return nil, fmt.Errorf("asking for the offsets of group %q: %w", group, kerr)
	}
	return resp, nil
}
