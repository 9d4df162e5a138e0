package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A claim is one partition while this member owns it. Records go from the client's channel into the claim's
// queue (intake.go), are given out by Next, and come back by Finish, in any order, or Return.
type claim struct {
	conf      *SubscriberConfig
	owner     owner
	src       source
	topic     string
	partition int32

	ctx    *claimContext
	cancel context.CancelCauseFunc

	stopping chan struct{} // closed: Next gives nothing more
	why      error         // it stops; set before stopping is closed
	once     sync.Once
	timer    *time.Timer // ends the ownership when the drain has taken too long
	lost     bool        // by mu: nothing can be finished any more

	mu       sync.Mutex
	queue    []*sarama.ConsumerMessage // from the client, not yet given out
	head     int                       // of queue
	waiting  int                       // bytes in queue
	room     chan struct{}             // holds a token: the queue has room again
	wake     chan struct{}             // holds a token: look again
	paused   bool                      // fetching is
	progress progress
	flying   int // bytes given out and not finished
	back     []*delivery
	due      time.Time // when what came back may go out again
	backs    int       // in a row
	// What is committed, as the numbers of progress and as an offset.
	committed uint64
	offset    int64
	note      string // what that says of what is behind it: see handover.go
	stage     stage
	doubtful  uint64          // so many of the first may have been delivered before
	past      islands         // is finished already
	listing   uint            // how many offsets a note may tell about
	unseen    map[uint64]bool // returned by who has shown them to nobody; true: and never has; nil: none
	oldest    time.Time       // when the oldest that is not finished was given out, about
	position  int64           // the offset behind what was queued last
	refused   *refusal        // what comes after the queue, and nothing after it
	restartAt int64           // the offset behind that; 0: none
	rewound   bool            // it begins elsewhere than the client: nothing is given out, and the session begins anew
	transacts bool            // transactions commit its offsets, and a commit of ours could win over one that is under way
	held      bool            // paused for that
	suspect   bool            // the member's: it is being looked into
}

// An owner is the member or the follower that a claim belongs to.
type owner interface {
	// finished says that a claim's finished prefix has grown by so much since the last commit.
	finished(c *claim, uncommitted uint64)
	// arrived says that the claim's partition is read.
	arrived(c *claim)
	// overdue commits once what a claim has finished that will not be finished in time.
	overdue(c *claim)
	// restart begins to read anew, behind what cannot be read.
	restart()
}

// A source is where a claim's records come from.
type source interface {
	Messages() <-chan *sarama.ConsumerMessage
	HighWaterMarkOffset() int64
	pause()
	resume()
}

func newClaim(ctx context.Context, conf *SubscriberConfig, o owner, src source, topic string, partition int32, from int64) *claim {
	c := &claim{
		conf: conf, owner: o, src: src, topic: topic, partition: partition,
		stopping: make(chan struct{}), room: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		offset: from, position: from, progress: progress{mark: from}, listing: listMost,
	}
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	c.ctx, c.cancel = &claimContext{inner}, cancel
	return c
}

// stop has the claim give out nothing more, and starts the time there is for the rest.
func (c *claim) stop(why error) {
	c.once.Do(func() {
		c.why = why
		c.mu.Lock()
		// A subscription gives up after DrainTimeout by itself; who works on claims directly has a little longer.
		c.timer = time.AfterFunc(c.conf.DrainTimeout+c.conf.DrainTimeout/10, c.overdue)
		c.mu.Unlock()
		close(c.stopping)
		nudge(c.room)
	})
}

// lastWord is how long the last commit may take of a claim whose drain has taken too long.
const lastWord = time.Second

// ending is how long claims may take to let go.
func (c *SubscriberConfig) ending() time.Duration {
	return c.DrainTimeout + c.DrainTimeout/10 + lastWord
}

// overdue ends the ownership of what is not finished in time. What is finished beside it is committed before, and said to be.
func (c *claim) overdue() {
	lose := func() {
		c.lose(fmt.Errorf("topic %q, partition %d: not finished %v after reading ended, it is delivered again: %w",
			c.topic, c.partition, c.conf.DrainTimeout, channel.ErrStopped))
	}
	late := time.AfterFunc(lastWord, lose)
	c.mu.Lock()
	last := c.stage != arrived && !c.transacts
	if last {
		c.stage = leaving
	}
	c.mu.Unlock()
	if last {
		c.owner.overdue(c)
	}
	late.Stop()
	lose()
}

// lose ends the ownership: from now on nothing is finished.
func (c *claim) lose(cause error) {
	c.mu.Lock()
	c.lost = true
	c.mu.Unlock()
	c.stop(cause)
	c.cancel(cause)
}

// isStopping reports that the claim gives out nothing more.
func (c *claim) isStopping() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

func (c *claim) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// errLost is an adapters.ErrLost if nothing can be finished any more.
func (c *claim) errLost() error {
	if !c.isLost() {
		return nil
	}
	return fmt.Errorf("topic %q, partition %d: %w", c.topic, c.partition, adapters.ErrLost)
}

// settleUp ends the time there is for the rest: own has returned, and the commit has a time of its own.
func (c *claim) settleUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	if c.stage != arrived {
		c.stage = leaving
	}
}

// letGo ends the claim because its own has returned.
func (c *claim) letGo() {
	c.stop(channel.ErrStopped)
	c.mu.Lock()
	c.timer.Stop()
	c.lost = true
	c.mu.Unlock()
	c.cancel(channel.ErrStopped)
}

// Context is documented at adapters.Claim.
func (c *claim) Context() context.Context { return c.ctx }

// Topic is documented at adapters.Claim.
func (c *claim) Topic() string { return c.topic }

func (c *claim) part() part { return part{topic: c.topic, partition: c.partition} }

// Partition is which of the topic's partitions the claim is.
func (c *claim) Partition() int32 { return c.partition }

// Order is the subscriber's.
func (c *claim) Order() adapters.Order { return c.conf.Order }

// Next is documented at adapters.Claim. The error after a rebalance wraps channel.ErrStopped.
func (c *claim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	if len(run) == cap(run) {
		return run, errNoRoom
	}
	for {
		if c.isStopping() {
			return run, fmt.Errorf("reading topic %q, partition %d, ended: %w", c.topic, c.partition, c.why)
		}
		c.mu.Lock()
		ds, pause := c.take(cap(run) - len(run))
		c.mu.Unlock()
		if len(ds) > 0 {
			for i := range ds {
				d := &ds[i]
				d.decode(&c.conf.Limits)
				run = append(run, &d.rec)
			}
			return run, nil
		}
		c.await(pause)
	}
}

// await waits until there is something to look at.
func (c *claim) await(pause time.Duration) {
	if pause <= 0 {
		select {
		case <-c.wake:
		case <-c.stopping:
		}
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-c.wake:
	case <-c.stopping:
	case <-t.C:
	}
}

// take gives out as many records as there are, and as the window has room for. If some have come back, it is
// those, and nothing else until their pause is over: nothing of their keys may overtake them.
func (c *claim) take(most int) (ds []delivery, pause time.Duration) {
	if len(c.back) > 0 {
		if pause = time.Until(c.due); pause > 0 {
			return nil, pause
		}
		n := min(most, len(c.back))
		for _, d := range c.back[:n] {
			if !c.progress.out(d.seq) { // it was finished after all
				continue
			}
			again := d.rec.Again
			if _, unseen := c.unseen[d.seq]; unseen {
				delete(c.unseen, d.seq)
			} else {
				again++
			}
			of := adapters.Record{Again: again, Doubtful: d.rec.Doubtful, Err: d.rec.Err}
			ds = append(ds, delivery{claim: c, rec: of, msg: d.msg, seq: d.seq, size: d.size})
		}
		c.back = append(c.back[:0], c.back[n:]...)
		return ds, time.Nanosecond // if none is left, look again
	}
	c.leaveOut()
	p := &c.progress
	room := c.conf.Window - int(p.next-c.committed) //nolint:gosec // Both are below Window apart.
	n := min(most, room, len(c.queue)-c.head)
	if n <= 0 && room > 0 && c.refused != nil {
		return c.takeRefused(), 0
	}
	if n <= 0 || c.flying >= c.conf.WindowBytes {
		return nil, 0
	}
	if p.base == p.next {
		c.oldest = time.Now()
	}
	ds = make([]delivery, c.fit(n))
	for i := range ds {
		m, size := c.pop()
		c.flying += size
		d := &ds[i]
		d.claim, d.msg, d.size, d.seq = c, m, size, p.give(m.Offset+1)
		d.rec.Doubtful = d.seq < c.doubtful
	}
	c.roomy()
	return ds, 0
}

// pop takes the first record from the queue.
func (c *claim) pop() (m *sarama.ConsumerMessage, size int) {
	m = c.queue[c.head]
	c.queue[c.head] = nil
	c.head++
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	}
	size = sizeOf(m)
	c.waiting -= size
	return m, size
}

// leaveOut drops what is next and finished already.
func (c *claim) leaveOut() {
	for c.head < len(c.queue) && c.past.has(c.queue[c.head].Offset) {
		m, _ := c.pop()
		c.progress.skip(m.Offset + 1)
		c.roomy()
	}
}

// fit is how many of the next n records there is room for in bytes, and nothing to leave out between: at least one, if
// there is any.
func (c *claim) fit(n int) int {
	for i, flying := 0, c.flying; i < n; i++ {
		m := c.queue[c.head+i]
		if flying >= c.conf.WindowBytes || c.past.has(m.Offset) {
			return i
		}
		flying += sizeOf(m)
	}
	return n
}

// lag is how many messages the partition has behind the finished ones, as far as is known.
func (c *claim) lag() int64 {
	c.mu.Lock()
	mark := c.progress.mark
	c.mu.Unlock()
	return max(c.src.HighWaterMarkOffset()-mark, 0)
}

// idleAt reports whether everything that has come is finished, and the offset behind it.
func (c *claim) idleAt() (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position, c.head == len(c.queue) && c.progress.base == c.progress.next
}

// recordOverhead is about what a record costs in memory beside its bytes.
const recordOverhead = 200

func sizeOf(m *sarama.ConsumerMessage) int {
	n := recordOverhead + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
