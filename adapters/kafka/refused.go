package kafka

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A refusal is a range of offsets whose records the client cannot read: batches that expand beyond the limit,
// or broken ones. The client refuses the whole answer such a batch comes in, so every partition of that
// broker stands still, and asks again for ever. So the partition is looked for, one at a time, and paused; what
// comes before the batch is read here; a record without bytes stands for the batch; and when that is finished and
// committed the session begins anew, behind it.
type refusal struct {
	from, end int64 // end not included
	err       error
}

var errRestart = fmt.Errorf("%w: going on behind a batch that cannot be read", channel.ErrStopped)

// takeRefused gives out the record that stands for a refused batch. It has no bytes.
func (c *claim) takeRefused() []delivery {
	r := c.refused
	c.refused = nil
	m := &sarama.ConsumerMessage{Topic: c.topic, Partition: c.partition, Offset: r.from}
	c.flying += recordOverhead
	if c.progress.base == c.progress.next { // nothing else is out
		c.oldest = time.Now()
	}
	seq := c.progress.give(r.end)
	doubtful := seq < c.doubtful || c.past.has(r.from) // it is not left out: a commit behind it is what reading goes on with
	return []delivery{{claim: c, msg: m, size: recordOverhead, seq: seq, rec: adapters.Record{Doubtful: doubtful, Err: r.err}}}
}

// isRefusal reports whether a fetch failed for what it brought.
func isRefusal(err error) bool {
	if _, ok := errors.AsType[sarama.PacketDecodingError](err); ok {
		return true
	}
	return errors.Is(err, sarama.ErrDecompressedBatchTooLarge)
}

// refusals looks into an error that the client has had with a partition. It names every partition of the
// broker, so each is looked into in its turn.
func (m *member) refusals(err error) {
	e, ok := errors.AsType[*sarama.ConsumerError](err)
	if !ok || !isRefusal(e.Err) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.claims {
		if c.topic == e.Topic && c.partition == e.Partition && !c.suspect {
			c.suspect = true
			m.looking.Go(func() { m.investigate(c) })
		}
	}
}

// investigate finds out whether it is this partition that the client cannot read. Meanwhile the partition is paused,
// or the member's client would expand the batch at the same time.
func (m *member) investigate(c *claim) {
	c.hold()
	r, err := m.lookInto(c)
	if r == nil {
		c.release()
	}
	m.mu.Lock()
	c.suspect = r != nil // else another error will have it looked into again
	m.mu.Unlock()
	switch {
	case err != nil:
		m.health.trouble(c.part(), fmt.Errorf("looking for what cannot be read in topic %q, partition %d: %w", c.topic, c.partition, err))
	case r != nil:
		m.log.Error("a batch of records cannot be read", "topic", c.topic, "partition", c.partition, "from", r.from, "to", r.end-1, "error", r.err)
	}
}

// lookInto looks with a client of its own: the member's closes its connection to a broker with every fetch
// that it refuses.
func (m *member) lookInto(c *claim) (*refusal, error) {
	sc, err := m.conf.config()
	if err != nil {
		return nil, err
	}
	client, err := m.conf.Cluster.connect(m.ctx, sc)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	return c.look(client)
}

// look reads what comes before a batch that cannot be read, and gives that. Nil: there is none, as far as the
// client's fetches reach.
func (c *claim) look(client sarama.Client) (*refusal, error) {
	if err := c.ahead(client); !isRefusal(err) {
		return nil, err
	}
	for {
		for c.isFull() && !c.holdUp() {
			continue // what is behind expands to more than it was on the way
		}
		at := c.positionNow()
		first, err := c.probe(client, at)
		switch {
		case isRefusal(err):
			return c.refuse(client, at, err)
		case err != nil:
			return nil, err
		case first.end <= at: // it is gone, by retention or by hand
			return nil, nil //nolint:nilnil // That is the answer.
		}
		c.enqueue(first.messages)
		c.reach(first.end)
	}
}

// ahead gives the error of the client's fetches from here on. What came with one of them may be on its way to the queue still,
// and the next one is what fails.
func (c *claim) ahead(client sarama.Client) error {
	at := c.positionNow()
	for range 2 {
		b, err := c.fetch(client, at, int32(c.conf.FetchBytes)) //nolint:gosec // validate has looked at it.
		if err != nil {
			return err
		}
		at = b.end
	}
	return nil
}

// refuse has a record stand for the batch at an offset.
func (c *claim) refuse(client sarama.Client, at int64, why error) (*refusal, error) {
	end, err := c.endOfRefused(client, at)
	if err != nil {
		return nil, err
	}
	r := &refusal{from: at, end: end, err: fmt.Errorf("records %s to %d: %w: %w", place(c.topic, c.partition, at), end-1, ErrRefused, why)}
	c.mu.Lock()
	c.refused, c.restartAt = r, end
	c.mu.Unlock()
	nudge(c.wake)
	return r, nil
}

// hold pauses the partition until release, or for good: the client reads it again in the next session.
func (c *claim) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.src.pause()
	c.held = true
}

// release undoes hold.
func (c *claim) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	if !c.paused { // for want of room
		c.src.resume()
	}
}

// positionNow is the offset behind what was queued last.
func (c *claim) positionNow() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

func (c *claim) reach(offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = max(c.position, offset)
}

// batches are what one fetch brings.
type batches struct {
	messages []*sarama.ConsumerMessage
	end      int64 // the offset behind them
}

// probe fetches the batch at an offset.
func (c *claim) probe(client sarama.Client, at int64) (batches, error) { return c.fetch(client, at, 1) }

// fetch fetches so many bytes of the partition from an offset on, or one batch if that is more.
func (c *claim) fetch(client sarama.Client, at int64, size int32) (b batches, err error) {
	broker, epoch, err := client.LeaderAndEpoch(c.topic, c.partition)
	if err != nil {
		return b, err //nolint:wrapcheck // investigate says what was being done.
	}
	req := &sarama.FetchRequest{Version: 11, MinBytes: 1, MaxWaitTime: 100, MaxBytes: size, SessionEpoch: -1, Isolation: client.Config().Consumer.IsolationLevel}
	req.AddBlock(c.topic, c.partition, at, size, epoch)
	resp, err := broker.Fetch(req)
	if err != nil {
		return b, err //nolint:wrapcheck // As above.
	}
	block := resp.GetBlock(c.topic, c.partition)
	if block == nil || !errors.Is(block.Err, sarama.ErrNoError) {
		if block == nil {
			return b, sarama.ErrIncompleteResponse
		}
		return b, block.Err
	}
	return c.read(block, at), nil
}

// read gives the messages of a block from an offset on: not those of control batches and aborted transactions.
func (c *claim) read(block *sarama.FetchResponseBlock, at int64) (b batches) {
	b.end = at
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil {
			continue
		}
		b.end = max(b.end, batch.LastOffset()+1)
		if batch.Control || batch.IsTransactional && c.conf.hides(block, batch) {
			continue
		}
		for _, rec := range batch.Records {
			offset := batch.FirstOffset + rec.OffsetDelta
			if offset < at {
				continue
			}
			m := &sarama.ConsumerMessage{
				Topic: c.topic, Partition: c.partition, Offset: offset, Key: rec.Key, Value: rec.Value, Headers: rec.Headers,
				Timestamp: batch.FirstTimestamp.Add(rec.TimestampDelta),
			}
			b.messages = append(b.messages, m)
		}
	}
	return b
}

// hides reports whether a batch is of a transaction that was aborted.
func (c *SubscriberConfig) hides(block *sarama.FetchResponseBlock, batch *sarama.RecordBatch) bool {
	if c.ReadUncommitted {
		return false
	}
	for _, t := range block.AbortedTransactions {
		if t.ProducerID == batch.ProducerID && t.FirstOffset <= batch.LastOffset() {
			return true
		}
	}
	return false
}

// endOfRefused finds the first offset behind at that can be read. A fetch from anywhere within a batch brings
// the whole batch, and fails as well. The ranges of several batches that cannot be read may become one; what
// can be read is looked for between them, at the places nearest by and at some others.
func (c *claim) endOfRefused(client sarama.Client, at int64) (int64, error) {
	const nearby, others = 8, 16
	last, err := client.GetOffset(c.topic, c.partition, sarama.OffsetNewest)
	if err != nil {
		return 0, err //nolint:wrapcheck // investigate says what was being done.
	}
	readable := func(o int64) (bool, error) {
		_, err := c.probe(client, o)
		if err != nil && !isRefusal(err) {
			return false, err
		}
		return err == nil, nil
	}
	bad, good := at, last // good: from there on there is nothing to read
	for step := int64(1); bad+step < good; {
		ok, err := readable(bad + step)
		if err != nil {
			return 0, err
		}
		if ok {
			good = bad + step
			break
		}
		bad += step
		if bad-at >= nearby {
			step *= 2
		}
	}
	for bad+1 < good {
		mid := bad + (good-bad)/2 //nolint:mnd // The middle.
		ok, err := readable(mid)
		if err != nil {
			return 0, err
		}
		if ok {
			good = mid
		} else {
			bad = mid
		}
	}
	for i := 0; i < others && good-at > nearby; i++ {
		o := at + nearby + rand.Int64N(good-at-nearby)
		ok, err := readable(o)
		if err != nil {
			return 0, err
		}
		if ok { // there are two: the nearer one first
			good, bad = o, at
			for bad+1 < good {
				mid := bad + (good-bad)/2 //nolint:mnd // As above.
				if ok, err = readable(mid); err != nil {
					return 0, err
				}
				if ok {
					good = mid
				} else {
					bad = mid
				}
			}
		}
	}
	return good, nil
}

// restart ends the session so that claims begin anew, from what is committed.
func (m *member) restart() {
	m.mu.Lock()
	end := m.end
	m.mu.Unlock()
	end(errRestart)
}
