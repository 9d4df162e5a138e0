package subscription

import "github.com/leat-go/leat/adapters"

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

	n int // in a row
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
