package flow

import (
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/seats"
)

// A dealer deals runs of records to the lanes of a claim: as few of them as have the run done soon. Blocks that only
// compute are done in a microsecond, and to wake a lane for each message would cost as much again; blocks that wait
// get a lane for every key.
type dealer struct {
	lanes  []*lane
	places *seats.Lanes // nil: the lanes take turns
	turn   int

	keys   []string // of the run
	at     []int    // the lanes of its records
	shares [][]*adapters.Record

	pace    atomic.Int64  // what a message takes, in nanoseconds
	backlog atomic.Int64  // dealt, and no lane is through with it
	room    chan struct{} // holds a token: the backlog has become short
	rest    *time.Timer
}

const (
	// soon is what a lane may be given to do while others are idle, and most how many messages: should the first of
	// them take long for once, the others wait for it.
	soon = 250 * time.Microsecond
	most = 64
	// headStart is how long the reader waits for lanes that have a whole run before them. What they have not seen
	// gets no better by lying in memory, and a window full of it makes every message slower.
	headStart = time.Millisecond
)

func newDealer(lanes []*lane, places *seats.Lanes) *dealer {
	d := &dealer{
		lanes: lanes, places: places, shares: make([][]*adapters.Record, len(lanes)), room: make(chan struct{}, 1),
		rest: time.NewTimer(0),
	}
	d.pace.Store(int64(soon))
	return d
}

func (d *dealer) deal(run []*adapters.Record) {
	if len(run) == 0 {
		return
	}
	if len(d.lanes) == 1 {
		d.lanes[0].push(run...)
		return
	}
	d.backlog.Add(int64(len(run)))
	d.place(run)
	for i, r := range run {
		d.shares[d.at[i]] = append(d.shares[d.at[i]], r)
	}
	for i, s := range d.shares {
		if len(s) > 0 {
			d.lanes[i].push(s...)
			clear(s)
			d.shares[i] = s[:0]
		}
	}
}

// place finds the lane of each record in a run.
func (d *dealer) place(run []*adapters.Record) {
	d.at, d.keys = d.at[:0], d.keys[:0]
	if d.places == nil {
		for range run {
			d.turn++
			d.at = append(d.at, d.turn%len(d.lanes))
		}
		return
	}
	for _, r := range run {
		d.keys = append(d.keys, r.Key)
	}
	d.at = d.places.TakeEach(d.at, d.together(len(run)), d.keys...)
	clear(d.keys)
}

// together is how many messages with keys of their own one lane is given of a run.
func (d *dealer) together(run int) int {
	if run < runLength/2 { // there are not many, and none need wait for another
		return 1
	}
	return int(min(max(int64(soon)/max(d.pace.Load(), 1), 1), most))
}

// through says that a lane has seen n messages, and what they took together.
func (d *dealer) through(n int, took time.Duration) {
	was := d.pace.Load() // two at once: one does not count
	d.pace.Store(was + (int64(took)-was*int64(n))/max(runLength, int64(n)))
	if left := d.backlog.Add(-int64(n)); left <= runLength && left+int64(n) > runLength {
		nudge(d.room)
	}
}

// await gives the lanes a head start if they have much before them.
func (d *dealer) await() {
	if d.backlog.Load() <= runLength {
		return
	}
	d.rest.Reset(headStart)
	select {
	case <-d.room:
	case <-d.rest.C:
	}
}
