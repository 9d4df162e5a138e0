package subscription

import "github.com/leat-go/leat/adapters"

// A line has the records that wait for those in front of them: of the keys of one lane, or of all that need not wait
// for each other, up to as many at once as there may be.
type line struct {
	fifo[*adapters.Record]

	limit  int
	shared bool // by records without an order
	busy   int  // records that are offered or in the hands of a worker, without those that pause in a shared line
	ready  bool // it is among those that have a record to offer
}

// rest empties the line, because all is to end.
func (l *line) rest() []*adapters.Record {
	rest := l.left()
	l.fifo = fifo[*adapters.Record]{}
	return rest
}
