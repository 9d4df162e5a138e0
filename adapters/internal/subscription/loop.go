package subscription

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/seats"
)

// A loop is what one goroutine knows of a delivery. It offers messages, and sees by itself which of them are
// acknowledged: most are, by the time it has offered another. For what takes longer, or is nacked, there are workers.
type loop struct {
	seats   *seats.Lanes // nil: no record is on the lane of its key
	lanes   []*line      // of keys; nil until needed
	keyless *line        // or all, where order wants one
	pool    *line        // what has no order
	broken  *line        // what is no message
	parked  []*adapters.Record

	ready  fifo[*line]  // those that may offer something
	next   flight       // what is offered now
	flying fifo[flight] // what was taken, and nobody waits for its acknowledgement
	done   []*adapters.Record

	workers int  // that have not reported their end
	last    bool // no record comes any more

	ticking bool // a tick is to come
	ticker  *time.Timer

	keys []string
	at   []int
}

// A flight is a record that is being offered, or was.
type flight struct {
	turn

	line *line
	msg  *message.Message // nil: it is none, or there is no flight
	ctx  *messageContext
	old  bool // it was there at the last tick
}

const (
	// runLength is how many records are taken from a claim at once.
	runLength = 256
	// together is how many records are finished at once at the latest.
	together = 64
	// misses is how many messages in flight are looked at in vain before the others are left for later.
	misses = 8
	// patience is how long a message is in flight, twice as long at most, before it gets a worker while another is
	// offered that nobody takes.
	patience = time.Millisecond
)

// run is the loop. It ends when nothing is in flight any more, and nothing more comes.
func (d *delivery) run() {
	l := &d.loop
	for {
		select {
		case <-d.news:
			d.hear()
		default:
		}
		if d.isEnding() {
			if d.wind(); l.last && l.workers == 0 {
				break
			}
			<-d.news
			d.hear()
			continue
		}
		d.buryAll()
		if l.flying.len() == 0 {
			d.finish()
		}
		if d.offer() {
			if l.flying.len() == 1 && l.ready.len() == 0 { // all waits for this one
				d.sleep()
			}
			continue
		}
		if !d.look() {
			d.sleep()
		}
	}
	if l.ticker != nil {
		l.ticker.Stop()
	}
	d.giveBack(adapters.Unseen(l.parked))
}

// offer offers the next message, and reports whether somebody waited for it.
func (d *delivery) offer() bool {
	l := &d.loop
	if d.held.Load() || l.next.msg == nil && !d.prepare() {
		return false
	}
	select {
	case d.out <- l.next.msg:
		d.taken()
		return true
	default:
		return false
	}
}

// prepare makes the next message, if there is one to offer.
func (d *delivery) prepare() bool {
	l := &d.loop
	if l.ready.len() == 0 {
		return false
	}
	on := l.ready.pop()
	on.ready = false
	t := on.pop()
	on.busy++
	l.stir(on)
	ctx := d.context(t.rec, t.again())
	l.next = flight{turn: t, line: on, msg: d.message(t.rec, ctx), ctx: ctx}
	return true
}

// buryAll gives what is no message to workers, whether anybody takes messages or not.
func (d *delivery) buryAll() {
	for b := d.loop.broken; b != nil && b.busy < b.limit && b.len() > 0; {
		b.busy++
		d.care(flight{turn: b.pop(), line: b})
	}
}

// taken notes that the next message was taken.
func (d *delivery) taken() {
	l := &d.loop
	f := l.next
	l.next = flight{}
	f.rec.Unseen = false
	if told := d.Events.Redelivered; told != nil && (f.ctx.again > 0 || f.rec.Doubtful) {
		told(d.claim, f.rec)
	}
	l.flying.push(f)
	if l.flying.len() > 1 { // what was taken before is settled by now, if it is soon
		d.look()
	}
}

// look settles what is acknowledged, from the oldest on, and reports whether there was any.
func (d *delivery) look() bool {
	fs := d.loop.flying.left()
	n, left := 0, 0
	for ; n < len(fs) && left < misses; n++ {
		f := fs[n]
		select {
		case <-f.msg.Acked():
			f.ctx.End(nil)
			d.through(f.rec, f.line)
			continue
		default:
		}
		select {
		case <-f.msg.Nacked():
			d.care(f)
			continue
		default:
		}
		fs[left] = f
		left++
	}
	if n == left {
		return false
	}
	copy(fs[n-left:n], fs[:left])
	d.loop.flying.drop(n - left)
	return true
}

// through is the end of a record: it is to be finished.
func (d *delivery) through(r *adapters.Record, on *line) {
	l := &d.loop
	if l.done = append(l.done, r); len(l.done) >= together {
		d.finish()
	}
	on.busy--
	l.stir(on)
}

// finish hands finished records to the claim, and frees their places on lanes.
func (d *delivery) finish() {
	l := &d.loop
	if len(l.done) == 0 {
		return
	}
	if d.claim.Context().Err() == nil {
		d.claim.Finish(l.done)
	}
	l.keys = l.keys[:0]
	for _, r := range l.done {
		if l.isSeated(r) {
			l.keys = append(l.keys, r.Key)
		}
	}
	if len(l.keys) > 0 {
		l.seats.Leave(l.keys...)
	}
	clear(l.keys)
	clear(l.done)
	l.done = l.done[:0]
}

// sleep waits until there is something to do.
func (d *delivery) sleep() {
	l := &d.loop
	if l.next.msg == nil && l.flying.len() > 1 {
		d.careFor(l.flying.len())
	}
	d.finish()
	var out chan<- *message.Message
	var acked, nacked <-chan struct{}
	switch {
	case l.next.msg != nil:
		if !d.held.Load() {
			out = d.out
		}
		if l.flying.len() > 0 && !l.ticking {
			d.arm()
		}
	case l.flying.len() == 1:
		f := &l.flying.left()[0]
		acked, nacked = f.msg.Acked(), f.msg.Nacked()
	}
	select {
	case out <- l.next.msg:
		d.taken()
	case <-d.news:
		d.hear()
	case <-acked:
	case <-nacked:
	}
}

// care gives what takes longer to a worker.
func (d *delivery) care(f flight) {
	d.loop.workers++
	w := &worker{delivery: d, flight: f}
	go w.run()
}

// careFor gives the n oldest in flight workers.
func (d *delivery) careFor(n int) {
	fs := d.loop.flying.left()
	for _, f := range fs[:n] {
		d.care(f)
	}
	d.loop.flying.drop(n)
}

// arm has a tick come.
func (d *delivery) arm() {
	l := &d.loop
	l.ticking = true
	if l.ticker == nil {
		l.ticker = time.AfterFunc(patience, d.tick)
		return
	}
	l.ticker.Reset(patience)
}

// age gives workers to what was in flight at the tick before.
func (d *delivery) age() {
	d.loop.ticking = false
	fs := d.loop.flying.left()
	old := 0
	for old < len(fs) && fs[old].old {
		old++
	}
	for i := range fs[old:] {
		fs[old+i].old = true
	}
	d.careFor(old)
}

// hear opens the mail.
func (d *delivery) hear() {
	b := d.open()
	for i := range b.reports {
		d.told(b.reports[i])
	}
	clear(b.reports)
	d.lineUp(b.records)
	clear(b.records)
	d.loop.last = d.loop.last || b.last
	if b.ticked {
		d.age()
	}
}

// told heeds the report of a worker.
func (d *delivery) told(r report) {
	l := &d.loop
	switch r.event {
	case pausing:
		r.line.busy--
		l.stir(r.line)
		return
	case paused: // there may be more than the limit until one of them is through
		r.line.busy++
		return
	case finished:
		d.through(r.rec, r.line)
	case again:
		if r.line.shared { // it made room when its pause began
			r.line.push(r.turn)
		} else {
			r.line.busy--
			r.line.unpop(r.turn)
		}
		l.stir(r.line)
	case returned:
		r.line.busy--
		d.giveBack([]*adapters.Record{r.rec})
	}
	l.workers--
}

// wind gives workers to all that is in flight, which have the time of Drain, and gives back what waits behind nothing.
func (d *delivery) wind() {
	l := &d.loop
	if f := l.next; f.msg != nil {
		f.line.busy--
		f.line.unpop(f.turn)
		l.next = flight{}
	}
	d.careFor(l.flying.len())
	d.finish()
	for _, on := range append(l.lanes, l.keyless, l.pool, l.broken) {
		if on != nil && on.len() > 0 && (on.busy == 0 || on.shared) {
			d.giveBack(on.rest())
		}
	}
}
