package kafka

import (
	"time"

	"github.com/leat-go/leat/adapters"
)

// mine gives the delivery of a record if it is out with this claim.
func (c *claim) mine(r *adapters.Record) (*delivery, bool) {
	d, ok := r.Native.(*delivery)
	return d, ok && d.claim == c && c.progress.out(d.seq)
}

// Finish is documented at adapters.Claim. What the claim no longer has is ignored.
func (c *claim) Finish(rs []*adapters.Record) {
	c.mu.Lock()
	n := c.finish(rs)
	c.mu.Unlock()
	if n > 0 {
		c.owner.finished(c, n)
	}
}

// finish marks records and gives how many of the finished prefix are not committed, 0 if it has not grown.
func (c *claim) finish(rs []*adapters.Record) uint64 {
	if c.lost {
		return 0
	}
	p := &c.progress
	for _, r := range rs {
		if d, ok := c.mine(r); ok {
			p.finish(d.seq)
			c.flying -= d.size
		}
	}
	c.backs = 0
	nudge(c.wake)
	if !p.advance() {
		return 0
	}
	c.oldest = time.Now()
	return p.base - c.committed
}

// commit notes what is committed.
func (c *claim) commit(to mark) {
	c.mu.Lock()
	past := c.noteCommit(to)
	c.mu.Unlock()
	c.committedOn(past)
}

// noteCommit notes what is committed, and reports whether that is past what cannot be read.
func (c *claim) noteCommit(to mark) (past bool) {
	c.note = to.note
	if c.stage == inherited {
		c.stage = owned
	}
	if to.n > c.committed {
		c.committed, c.offset = to.n, to.offset
	}
	if c.offset >= c.past.end() {
		c.past = islands{}
	}
	return c.restartAt > 0 && c.offset >= c.restartAt
}

// committedOn has reading go on: behind what cannot be read, if that is passed.
func (c *claim) committedOn(past bool) {
	nudge(c.wake)
	if past {
		c.owner.restart()
	}
}

// A mark is what is committed of a claim: everything before number n, as an offset, and what it says of what is behind.
type mark struct {
	n      uint64
	offset int64
	note   string
}

// uncommitted gives what may be committed, false if that is nothing new.
func (c *claim) uncommitted() (mark, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	to := c.finished()
	switch c.stage {
	case arrived:
		return to, false
	case inherited:
		return to, true
	case leaving:
		return to, to.n > c.committed || to.note != c.note
	case owned:
	}
	return to, to.n > c.committed
}

// finished is what is finished.
func (c *claim) finished() mark {
	p := &c.progress
	return mark{p.base, p.mark, c.noteFor(p.base, p.mark).String()}
}

// Return is documented at adapters.Claim. While the claim reads on, the whole partition pauses: 1 ms, twice
// as long for each time in a row, up to a second. Once it stops, they are delivered to whoever owns the
// partition next.
func (c *claim) Return(rs []*adapters.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stopping := c.isStopping() // then they are not finished, and come again
	for _, r := range rs {
		d, ok := c.mine(r)
		if !ok {
			continue
		}
		if r.Unseen {
			if c.unseen == nil {
				c.unseen = map[uint64]bool{}
			}
			c.unseen[d.seq] = r.Again == 0
		}
		if !stopping {
			c.giveBack(d)
		}
	}
	if stopping {
		return
	}
	c.backs++
	c.due = time.Now().Add(pause(time.Millisecond, time.Second, c.backs))
	nudge(c.wake)
}

// giveBack puts a delivery among those that came back, by number.
func (c *claim) giveBack(d *delivery) {
	at := len(c.back)
	for at > 0 && c.back[at-1].seq > d.seq {
		at--
	}
	if at > 0 && c.back[at-1].seq == d.seq { // returned twice
		return
	}
	c.back = append(c.back, nil)
	copy(c.back[at+1:], c.back[at:])
	c.back[at] = d
}

// markOf is the mark behind the last of records that are out.
func (c *claim) markOf(rs []*adapters.Record) mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transacts = true
	d, ok := c.mine(rs[len(rs)-1])
	if !ok {
		return c.finished()
	}
	n, end := d.seq+1, c.progress.end[d.seq%uint64(len(c.progress.end))]
	return mark{n, end, c.noteFor(n, end).String()}
}

// finishCommitted finishes records that a transaction has committed, up to a mark. Nobody sees them finished and not
// committed: a commit of them by themselves could win over that of the next transaction, which is under way by then.
func (c *claim) finishCommitted(rs []*adapters.Record, to mark) {
	c.mu.Lock()
	c.finish(rs)
	past := c.noteCommit(to)
	c.mu.Unlock()
	c.committedOn(past)
}
