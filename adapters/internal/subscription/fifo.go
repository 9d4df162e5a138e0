package subscription

// A fifo is what waits for its turn. Its memory is used again.
type fifo[T any] struct {
	items []T
	head  int // of those that are left
}

func (q *fifo[T]) len() int { return len(q.items) - q.head }

// left gives what is there, to be read or changed until the next push.
func (q *fifo[T]) left() []T { return q.items[q.head:] }

func (q *fifo[T]) push(x T) {
	if q.head > len(q.items)/2 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, x)
}

func (q *fifo[T]) pop() T {
	x := q.items[q.head]
	q.drop(1)
	return x
}

// drop takes the first n away.
func (q *fifo[T]) drop(n int) {
	clear(q.items[q.head : q.head+n])
	q.head += n
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
}

// unpop puts back what was taken from the front.
func (q *fifo[T]) unpop(x T) {
	if q.head == 0 {
		q.items = append([]T{x}, q.items...)
		return
	}
	q.head--
	q.items[q.head] = x
}
