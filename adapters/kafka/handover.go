package kafka

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// A committed offset says nothing of what lies behind it: what has been delivered of that, and what is finished. So each
// commit of ours has a note in its metadata. It tells how many messages behind the offset may have been delivered and are
// not finished: "as many as the window has", says an owner before it gives out the first, so that this stands if it is
// killed; how many it has left, says one that lets go. And it tells which offsets behind it are finished, since one message
// in backoff holds the offset up, not its neighbours. Who owns the partition next marks the former
// (adapters.Record.Doubtful) and leaves out the latter. The note counts for the offset it was committed with, so moving a
// group's offsets undoes it. Other clients neither write such notes nor mind them.

const (
	noteOut  = "leat-out:"
	noteDone = " done:"
	// listMost is how many offsets behind the committed one a note tells about. The default Window fits, and brokers refuse
	// metadata of more than 4,096 bytes.
	listMost = 20_000
)

// A note is what a commit says of what is behind its offset.
type note struct {
	out  uint64   // not finished, may have been delivered
	done *big.Int // bit i: what is i behind the offset is finished; nil: nothing is
}

func (n note) String() string {
	if n.done != nil && n.done.BitLen() > 0 {
		return noteOut + strconv.FormatUint(n.out, 10) + noteDone + base64.RawStdEncoding.EncodeToString(n.done.Bytes())
	}
	if n.out > 0 {
		return noteOut + strconv.FormatUint(n.out, 10)
	}
	return ""
}

// readNote reads a note, whoever wrote it. It reports false for one that began like ours and went on otherwise.
func readNote(s string) (n note, ok bool) {
	s, ours := strings.CutPrefix(s, noteOut)
	if !ours {
		return note{}, true
	}
	out, done, listed := strings.Cut(s, noteDone)
	var err error
	if n.out, err = strconv.ParseUint(out, 10, 32); err != nil {
		return note{}, false
	}
	if !listed {
		return n, true
	}
	bits, err := base64.RawStdEncoding.DecodeString(done)
	if err != nil {
		return note{}, false
	}
	n.done = new(big.Int).SetBytes(bits)
	return n, true
}

// islands are what of a partition an owner before has finished beyond what is committed.
type islands struct {
	from int64
	bits *big.Int // bit i: offset from+i is finished; nil: none is
}

func (s islands) end() int64 {
	if s.bits == nil {
		return s.from
	}
	return s.from + int64(s.bits.BitLen())
}

func (s islands) has(offset int64) bool {
	return offset >= s.from && offset < s.end() && s.bits.Bit(int(offset-s.from)) == 1
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
	if b != nil && b.Offset >= 0 && !c.rewound {
		if err := m.overtaken(c, b.Offset); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stage != arrived {
		return nil
	}
	c.stage = inherited
	if b != nil && b.Offset == c.offset {
		c.heed(b.Metadata)
	}
	return nil
}

// saysOvertaken is for the log. Offsets say nothing of what was between them: it may have been the ends of transactions alone.
const saysOvertaken = "messages may have been deleted before they were read, or the topic was made anew: reading goes on at the oldest"

// endsOf gives the offset of a partition's oldest message, and that behind its newest.
func endsOf(client sarama.Client, topic string, partition int32) (oldest, newest int64, err error) {
	if oldest, err = client.GetOffset(topic, partition, sarama.OffsetOldest); err == nil {
		newest, err = client.GetOffset(topic, partition, sarama.OffsetNewest)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("asking where topic %q, partition %d begins and ends: %w", topic, partition, err)
	}
	return oldest, newest, nil
}

// overtaken looks whether what the group has committed is on the partition. Where it is not, the client has begun at Start;
// what is there and was never read must not be skipped for that, so the claim begins at the oldest message. Where it is, and the client
// has begun elsewhere, somebody has committed since the client asked: what that says is done must not be done again.
func (m *member) overtaken(c *claim, committed int64) error {
	c.mu.Lock()
	begins := c.offset
	c.mu.Unlock()
	if committed == begins {
		return nil
	}
	oldest, newest, err := endsOf(m.desk, c.topic, c.partition)
	if err != nil {
		return err
	}
	from := oldest
	if committed >= oldest && committed <= newest { // somebody has committed meanwhile, or that much was written
		from = committed
	} else {
		m.log.Error(saysOvertaken, "topic", c.topic, "partition", c.partition, "committed", committed, "oldest", oldest)
	}
	if begins != from {
		c.beginAt(from)
	}
	return nil
}

// beginAt has the claim begin elsewhere than the client.
func (c *claim) beginAt(to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset, c.position, c.progress.mark, c.rewound = to, to, to, true
}

// heed takes over what the owner before has said. What cannot be read counts as the most it could say.
func (c *claim) heed(metadata string) {
	n, ok := readNote(metadata)
	if !ok {
		n.out = uint64(c.conf.Window) //nolint:gosec // It is positive.
	}
	c.doubtful, c.past = n.out, islands{c.offset, n.done}
}

// noteFor is what to say of what is behind a finished prefix, which ends before record number base and before offset.
func (c *claim) noteFor(base uint64, offset int64) (n note) {
	switch c.stage {
	case arrived: // it commits nothing yet; a follower's never does
		return note{}
	case leaving:
		n = c.left(base, offset)
	case inherited, owned:
		n = note{uint64(c.conf.Window), new(big.Int)} //nolint:gosec // It is positive.
		if c.doubtful > base {
			n.out = max(n.out, c.doubtful-base)
		}
	}
	if end := c.past.end(); end > offset {
		passed, ahead := uint(offset-c.past.from), uint(end-offset) //nolint:gosec // Neither is negative.
		n.done.Or(n.done, new(big.Int).Rsh(c.past.bits, passed))
		if ahead > c.listing { // the rest comes again
			one := big.NewInt(1)
			n.done.And(n.done, one.Sub(one.Lsh(one, c.listing), big.NewInt(1)))
			n.out += uint64(ahead)
		}
	}
	return n
}

// left is what a claim leaves that gives out nothing more.
func (c *claim) left(base uint64, offset int64) note {
	p, begin, left := &c.progress, offset, uint64(0)
	n := note{done: new(big.Int)}
	for i := base; i < p.next; i++ {
		end := p.end[i%uint64(len(p.end))]
		if to := end - offset; !p.out(i) && to <= int64(c.listing) { //nolint:gosec // It is listMost at most.
			for at := begin - offset; at < to; at++ { // it, and before it what is not there, or was left out
				n.done.SetBit(n.done, int(at), 1)
			}
		} else {
			left++
			if never := c.unseen[i]; !never || i < c.doubtful {
				n.out = left
			}
		}
		begin = end
	}
	if c.doubtful > p.next {
		n.out = left + c.doubtful - p.next
	}
	return n
}

// sayLess has notes be shorter, after the broker has refused one.
func (c *claim) sayLess() {
	c.mu.Lock()
	c.listing /= 2
	c.mu.Unlock()
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
