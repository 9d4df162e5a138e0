package flow

import (
	"slices"
	"time"

	"github.com/leat-go/leat/adapters"
)

// A sequence is a claim of a flow that is ExactlyOnce. It knows the order in which its records were read,
// so that the longest prefix of them that is finished can be found, in whatever order lanes work. The
// committer finishes them; Finish does nothing.
type sequence struct {
	adapters.Claim

	committer *committer
	readers   int // works of a record
	unwatch   func() bool

	// The committer's lock guards the rest.
	slots   []*slot // what is read and not finished, in order
	first   uint64  // the number of the first of slots
	ready   int     // how many of slots, from the first, are computed
	spoiled bool    // one of slots was given back: nothing behind it can be finished
	ended   bool    // nothing more is read
	alone   bool    // to be committed by itself, to see whether it is this one that is lost
	most    int     // slots in one commit: half of what has failed twice, and a quarter more after each that succeeds
	fails   int     // commits in a row
	err     error   // of the latest
	again   time.Time
}

// A slot is the place of one record in its sequence. Lanes have its copy of the record, with the slot as Native.
type slot struct {
	seq    *sequence
	number uint64
	of     *adapters.Record // the adapter's
	rec    adapters.Record
	left   int     // works that are still being worked on
	works  []*work // those that are computed, and wait for the commit
	one    [1]*work
	back   bool // given back
}

// open makes a claim a sequence.
func (c *committer) open(claim adapters.Claim, readers int) *sequence {
	s := &sequence{Claim: claim, committer: c, readers: readers, most: batchMessages}
	c.mu.Lock()
	c.seqs = append(c.seqs, s)
	c.mu.Unlock()
	s.unwatch = afterFunc(claim.Context(), c.nudge)
	return s
}

// shut forgets it: every record of it is finished or given back.
func (s *sequence) shut() {
	s.unwatch()
	c := s.committer
	c.mu.Lock()
	c.seqs = slices.DeleteFunc(c.seqs, func(x *sequence) bool { return x == s })
	c.mu.Unlock()
}

// Next gives each record that is read its place.
func (s *sequence) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	was := len(run)
	run, err := s.Claim.Next(run)
	fresh := make([]slot, len(run)-was)
	c := s.committer
	c.mu.Lock()
	for i := range fresh {
		x := &fresh[i]
		x.seq, x.number, x.left, x.of = s, s.first+uint64(len(s.slots)), s.readers, run[was+i]
		x.works = x.one[:0]
		x.rec = *x.of
		x.rec.Native = x
		run[was+i] = &x.rec
		s.slots = append(s.slots, x)
	}
	s.ended = err != nil
	c.mu.Unlock()
	if err != nil {
		c.nudge()
	}
	return run, err
}

// Finish does nothing: the transaction did.
func (*sequence) Finish([]*adapters.Record) {}

// Return gives records back.
func (s *sequence) Return(rs []*adapters.Record) {
	for i, r := range rs {
		if x, ok := r.Native.(*slot); ok {
			x.of.Unseen = r.Unseen
			rs[i] = x.of
		}
	}
	s.Claim.Return(rs)
}

// advance finds what is computed. The committer's lock is held.
func (s *sequence) advance() {
	for s.ready < len(s.slots) && s.slots[s.ready].left == 0 && !s.slots[s.ready].back {
		s.ready++
	}
}

// reopen has a slot wait for a work that the committer has let go of.
func (x *slot) reopen(w *work) {
	i := slices.Index(x.works, w)
	x.works = slices.Delete(x.works, i, i+1)
	x.left++
	x.seq.ready = min(x.seq.ready, int(x.number-x.seq.first)) //nolint:gosec // It is an index.
}

// finish forgets the first n of slots. The committer's lock is held.
func (s *sequence) finish(n int) {
	clear(s.slots[:n])
	s.slots = s.slots[n:]
	s.first += uint64(n) //nolint:gosec // It is a length.
	s.ready -= n
	s.fails, s.err, s.alone = 0, nil, false
	s.most = min(s.most+s.most/4+1, batchMessages)
}

// pause has it wait before the next try. After a second failure that is of less: what is in it may take the broker longer than a
// transaction may. The committer's lock is held.
func (s *sequence) pause(err error, p *part) {
	s.fails++
	switch {
	case p.crowded:
		s.fails = 1
	case s.fails > 1:
		s.most = max(len(p.slots)/2, 1)
	}
	s.err, s.again = err, time.Now().Add(p.pause)
}

// surrender takes back, from the i-th slot on, the works that wait for a commit which will not come, and
// appends them to ws. The committer's lock is held.
func (s *sequence) surrender(i int, why error, ws []*work) []*work {
	s.ready, s.spoiled = min(s.ready, i), true
	for _, x := range s.slots[i:] {
		x.back = true
		for _, w := range x.works {
			w.answer, w.err = withdrawn, why
			ws = append(ws, w)
		}
		x.works = x.works[:0]
	}
	return ws
}

// spoil says that the message was given back, so that what comes behind it is given back too.
func (w *work) spoil() {
	x, ok := w.rec.Native.(*slot)
	if !ok {
		return
	}
	c := x.seq.committer
	c.mu.Lock()
	x.back, x.seq.spoiled = true, true
	x.seq.ready = min(x.seq.ready, int(x.number-x.seq.first)) //nolint:gosec // It is an index.
	c.mu.Unlock()
	c.nudge()
}
