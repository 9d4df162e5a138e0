package flow

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A committer commits for a run of a flow that is ExactlyOnce: one transaction at a time, over all claims.
// While one is under way, what the next will have is computed. Lanes hand it works whose attempt is
// computed; it owns them until it tells their lane what became of them. What does not come from a claim (a
// feed, a letter that is put back) it takes as a sender: a transaction that finishes no record.
type committer struct {
	h     *Handle
	to    adapters.Transactor
	reads map[string]bool // physical topics that the flow reads
	wake  chan struct{}
	quit  chan struct{}
	over  chan struct{}

	mu     sync.Mutex
	seqs   []*sequence
	loose  []*loose
	since  time.Time // since when something is ready to be committed; zero: nothing is
	broken error     // nothing is committed any more

	// The rest belongs to the committer's goroutine.
	turn  int // which sequence is the first in the next transaction
	batch batch
	backs []*work
}

// A loose is a Send that comes from no claim.
type loose struct {
	outs    []*adapters.Outgoing
	done    func([]*adapters.Outgoing)
	waits   []*adapters.Outgoing // would wait for room, if the committer did
	unwatch func() bool
}

const (
	// linger is how long a transaction waits for what is being computed.
	linger = 2 * time.Millisecond
	// batchMessages and batchBytes bound a transaction: messages in and out, and payload that goes out. What it costs the
	// broker is paid by all that is in it: of the rate of at least once, 8,192 make 0.6, and these 0.8. Only what has come
	// while another was under way fills one.
	batchMessages = 32 << 10
	batchBytes    = 16 << 20
)

func (h *Handle) committer(to adapters.Transactor) *committer {
	c := &committer{
		h: h, to: to, reads: map[string]bool{}, wake: make(chan struct{}, 1), quit: make(chan struct{}), over: make(chan struct{}),
	}
	for _, u := range h.flow.Topics() {
		c.reads[u.Topic] = len(u.Reads) > 0
	}
	go c.run()
	return c
}

func (c *committer) nudge() { nudge(c.wake) }

// stop ends the committer, if there is one, for which there must be nothing left to do.
func (c *committer) stop() {
	if c == nil {
		return
	}
	close(c.quit)
	<-c.over
}

// run is the committer's goroutine.
func (c *committer) run() {
	defer close(c.over)
	timer := time.AfterFunc(math.MaxInt64, c.nudge)
	defer timer.Stop()
	hurried := c.h.hurried
	for {
		wait, some := c.collect()
		tellAll(c.backs)
		clear(c.backs)
		c.backs = c.backs[:0]
		if some {
			c.commit()
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-c.wake:
		case <-hurried:
			hurried = nil
		case <-c.quit:
			return
		}
	}
}

// computed takes works over whose attempt is computed.
func (c *committer) computed(ws []*work) {
	some := false
	c.mu.Lock()
	for _, w := range ws {
		x, _ := w.rec.Native.(*slot)
		x.left--
		x.works = append(x.works, w)
		x.seq.advance()
		some = some || x.seq.ready > 0
	}
	if some && c.since.IsZero() {
		c.since = time.Now()
	}
	c.mu.Unlock()
	c.nudge()
}

// Send has outs in the next transaction, for one who waits for them.
func (c *committer) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	x := &loose{outs: outs, done: done}
	x.unwatch = afterFunc(outs[0].Context, func() { c.drop(x) })
	c.mu.Lock()
	err := c.broken
	if err == nil {
		c.loose = append(c.loose, x)
		if c.since.IsZero() {
			c.since = time.Now()
		}
	}
	c.mu.Unlock()
	if err != nil {
		x.fail(err)
		return
	}
	c.nudge()
}

// drop gives up a Send whose context has ended, unless it is in a batch.
func (c *committer) drop(x *loose) {
	c.mu.Lock()
	i := slices.Index(c.loose, x)
	if i >= 0 {
		c.loose = slices.Delete(c.loose, i, i+1)
	}
	c.mu.Unlock()
	if i >= 0 {
		x.fail(context.Cause(x.outs[0].Context))
	}
}

// fail says of all of outs that they were not published.
func (x *loose) fail(err error) {
	x.unwatch()
	for _, o := range x.waits {
		o.NoWait = false
	}
	for _, o := range x.outs {
		if o.Err == nil {
			o.Err = err
		}
	}
	x.done(x.outs)
}

// beside is what a Send is told of a transaction that came to nothing because of some messages in it. If they are others, what
// was said of them is no verdict on what was sent.
func (x *loose) beside(err error) error {
	its := slices.ContainsFunc(x.outs, func(o *adapters.Outgoing) bool { return o.Err != nil })
	if !its && (channel.IsPermanent(err) || errors.Is(err, adapters.ErrFull)) {
		return errors.New("in one transaction with what failed: " + err.Error())
	}
	return err
}

// succeed says that all of them were.
func (x *loose) succeed() {
	x.unwatch()
	for _, o := range x.outs {
		o.Err = nil
	}
	x.done(x.outs)
}

// collect makes the next batch. If there is none yet it says how long it has to wait at most; 0: until it
// is woken. What can no longer be committed is in backs.
func (c *committer) collect() (wait time.Duration, some bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	ready, open := len(c.loose), false
	for _, s := range c.seqs {
		c.withdraw(s)
		switch d := s.again.Sub(now); {
		case s.fails > 0 && d > 0:
			if s.ready > 0 && (wait == 0 || d < wait) {
				wait = d
			}
		default:
			ready += s.ready
			open = open || s.ready < len(s.slots)
		}
	}
	if ready == 0 {
		c.since = time.Time{}
		return wait, false
	}
	if c.since.IsZero() {
		c.since = now
	}
	if d := c.since.Add(linger).Sub(now); open && ready < batchMessages && d > 0 {
		if wait == 0 || d < wait {
			wait = d
		}
		return wait, false
	}
	c.since = time.Time{}
	c.fill(now)
	return 0, true
}

// withdraw takes back what of a sequence can no longer be committed.
func (c *committer) withdraw(s *sequence) {
	var why error
	switch err := context.Cause(s.Context()); {
	case err != nil:
		why = err
	case c.broken != nil:
		why = c.broken
	case s.fails > 0 && c.hasty(s):
		why = s.err
	}
	if why != nil {
		c.backs = s.surrender(0, why, c.backs)
		return
	}
	if !s.spoiled {
		return
	}
	for i, x := range s.slots {
		if x.back {
			c.backs = s.surrender(i, channel.ErrStopped, c.backs)
			return
		}
	}
}

// hasty reports whether the sequence is to end, and waits for nothing.
func (c *committer) hasty(s *sequence) bool {
	select {
	case <-c.h.hurried:
		return true
	default:
		return s.ended && !c.h.isPatient()
	}
}

// fill puts what is ready into the batch. Each sequence has its turn at being the first; one that is alone is before all
// others, and before what is fed, or it would never be.
func (c *committer) fill(now time.Time) {
	b := &c.batch
	due := func(s *sequence) bool { return s.ready > 0 && (s.fails == 0 || !s.again.After(now)) }
	for _, s := range c.seqs {
		if s.alone && due(s) {
			b.take(s, c.reads)
			return
		}
	}
	for _, x := range c.loose {
		for _, o := range x.outs {
			if !o.NoWait && c.reads[o.Topic] {
				o.NoWait, x.waits = true, append(x.waits, o)
			}
		}
		b.add(x)
	}
	clear(c.loose)
	c.loose = c.loose[:0]
	c.turn++
	for i := 0; i < len(c.seqs) && !b.full(); i++ {
		if s := c.seqs[(c.turn+i)%len(c.seqs)]; due(s) {
			b.take(s, c.reads)
		}
	}
}
