package subscription

import (
	"log/slog"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A line has the records that wait for those in front of them: of the keys of one lane, or of all that need not wait
// for each other, up to as many at once as there may be.
type line struct {
	fifo[turn]

	limit  int
	shared bool // by records without an order
	busy   int  // records that were taken from it and are not settled, without those that pause in a shared line
	ready  bool // it is among those that may offer something
}

// A turn is a record, and what came of it so far.
type turn struct {
	rec   *adapters.Record
	tries *tries // nil: it was not nacked yet
}

// tries is what is known of a record that was nacked.
type tries struct {
	failure

	n    int // in a row
	back int // of them, those that were no attempt: it was given back
}

// again is how often the record was delivered before, as far as is known.
func (t turn) again() int {
	if t.tries != nil {
		return t.tries.attempts
	}
	return t.rec.Again
}

// rest empties the line, because all is to end.
func (l *line) rest() (rs []*adapters.Record) {
	for _, t := range l.left() {
		t.rec.Unseen = t.tries == nil
		rs = append(rs, t.rec)
	}
	l.fifo = fifo[turn]{}
	return rs
}

// A line that may offer something is among the ready ones.
func (l *loop) stir(on *line) {
	if on != l.broken && !on.ready && on.busy < on.limit && on.len() > 0 {
		on.ready = true
		l.ready.push(on)
	}
}

// lineUp puts records into lines.
func (d *delivery) lineUp(rs []*adapters.Record) {
	l := &d.loop
	l.keys, l.at = l.keys[:0], l.at[:0]
	for _, r := range rs {
		if l.isSeated(r) {
			l.keys = append(l.keys, r.Key)
		}
	}
	if len(l.keys) > 0 {
		l.at = l.seats.TakeEach(l.at, 1, l.keys...)
	}
	seated := 0
	for _, r := range rs {
		lane := 0
		if l.isSeated(r) {
			lane = l.at[seated]
			seated++
		}
		if on := d.place(r, lane); on != nil {
			on.push(turn{rec: r})
			l.stir(on)
		} else {
			d.park(r)
		}
	}
	clear(l.keys)
}

// isSeated reports whether the record is on the lane of its key.
func (l *loop) isSeated(r *adapters.Record) bool {
	return l.seats != nil && r.Key != "" && r.Err == nil
}

// place gives the line that a record belongs to, nil if it is to be parked.
func (d *delivery) place(r *adapters.Record, lane int) *line {
	l := &d.loop
	switch {
	case r.Err != nil:
		if d.DeadLetter == "" {
			return nil
		}
		return lineAt(&l.broken, buriers, true)
	case l.isSeated(r):
		return lineAt(&l.lanes[lane], 1, false)
	case l.lanes != nil && d.SpreadKeyless, d.claim.Order() == adapters.Unordered:
		return lineAt(&l.pool, d.Lanes, true)
	}
	return lineAt(&l.keyless, 1, false)
}

func lineAt(at **line, limit int, shared bool) *line {
	if *at == nil {
		*at = &line{limit: limit, shared: shared}
	}
	return *at
}

// park keeps what is no message, unfinished, until the claim ends.
func (d *delivery) park(r *adapters.Record) {
	d.Log.Error("record is no message and there is no dead letter: it is parked, and nothing behind it is committed; set DeadLetter and MaxAttempts",
		d.about(r, slog.String("error", channel.Reason(r.Err)))...)
	if told := d.Events.Parked; told != nil {
		told(d.claim, r)
	}
	d.loop.parked = append(d.loop.parked, r)
}
