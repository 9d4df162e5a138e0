package subscription

import (
	"sync"

	"github.com/leat-go/leat/adapters"
)

// A queue has the records that wait for a worker. A lane is a queue with one worker. A shared queue has
// as many as its limit, and one that pauses does not count.
type queue struct {
	limit  int
	shared bool
	start  func(*queue) // starts a worker

	mu      sync.Mutex
	wake    sync.Cond
	records []*adapters.Record
	head    int // of those that are left
	running int // workers, without those that pause
	idle    int // of them, those that wait and have not been woken
	closed  bool
}

func newQueue(limit int, shared bool, start func(*queue)) *queue {
	q := &queue{limit: limit, shared: shared, start: start}
	q.wake.L = &q.mu
	return q
}

// push adds records and sees to it that somebody takes them. It never waits: the claim's window bounds
// what is there.
func (q *queue) push(rs []*adapters.Record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head > 0 && len(q.records)+len(rs) > cap(q.records) {
		n := copy(q.records, q.records[q.head:])
		clear(q.records[n:])
		q.records, q.head = q.records[:n], 0
	}
	q.records = append(q.records, rs...)
	q.staff(len(rs))
}

// staff wakes or starts workers for n records. The lock is held.
func (q *queue) staff(n int) {
	for ; n > 0 && q.idle > 0; n-- {
		q.idle--
		q.wake.Signal()
	}
	for ; n > 0 && q.running < q.limit; n-- {
		q.running++
		q.start(q)
	}
}

// take waits for the next record. It gives nil when the worker is to end, which then is none any more: of several
// that look at once only those beyond the limit may go.
func (q *queue) take() *adapters.Record {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.records) && !q.closed && q.running <= q.limit {
		q.idle++
		q.wake.Wait()
	}
	if q.closed || q.running > q.limit {
		q.running--
		return nil
	}
	r := q.records[q.head]
	q.records[q.head] = nil
	q.head++
	if q.head == len(q.records) {
		q.records, q.head = q.records[:0], 0
	}
	return r
}

// pausing lets another worker work in place of one that pauses.
func (q *queue) pausing() {
	if !q.shared { // the rest of a lane waits for it
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.staff(min(len(q.records)-q.head, 1))
}

// paused is the end of a pause. There may be more workers than the limit until one of them is through.
func (q *queue) paused() {
	if !q.shared {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running++
}

// leave ends a worker that has a record still.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
}

// rest empties the queue, because all is to end.
func (q *queue) rest() []*adapters.Record {
	q.mu.Lock()
	defer q.mu.Unlock()
	rest := q.records[q.head:]
	q.records, q.head = nil, 0
	return rest
}

// close has the workers end.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}
