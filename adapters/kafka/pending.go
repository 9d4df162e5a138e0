package kafka

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
)

// A pending is one message from Send or Publish until its sender knows what became of it. It holds
// everything the client needs, and is used again: publishing allocates nothing.
type pending struct {
	msg   sarama.ProducerMessage
	key   body
	value body
	buf   []byte // the bytes of id, key and headers

	state      atomic.Uint32 // queued, given or settled
	since      time.Time
	prev, next *pending    // in the list of what is not settled
	stop       func() bool // ends the watch of its context; nil: it has none
	kept       bool        // it was given up, and somebody may know it still; of whoever settled it

	err  error
	out  *adapters.Outgoing // of a Send
	done func([]*adapters.Outgoing)
	call uint64 // outs of one call complete together

	batch *batch // of a Publish
	at    int    // its index there

	tx *sends // of a transaction
}

// The states of a pending. Whoever moves it to settled tells its sender.
const (
	queued uint32 = iota // not yet handed to the client
	given                // with the client: what becomes of it is unknown until it says so
	settled
)

// A batch is one Publish.
type batch struct {
	errs    []error
	left    atomic.Int32
	through chan struct{}
}

// A shelf is where a publisher keeps what it uses again, as much as the client has at most. The runtime's pools are
// emptied too often: with every other collection of garbage.
type shelf struct {
	mu   sync.Mutex
	free []*pending
}

// take gives n.
func (s *shelf) take(to []*pending, n int) []*pending {
	s.mu.Lock()
	at := max(len(s.free)-n, 0)
	to = append(to, s.free[at:]...)
	clear(s.free[at:])
	s.free = s.free[:at]
	s.mu.Unlock()
	for len(to) < n {
		to = append(to, &pending{})
	}
	return to
}

// put takes back those that nobody else may know.
func (s *shelf) put(ps []*pending) {
	for _, p := range ps {
		p.recycle()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, ps[:min(len(ps), max(inClient-len(s.free), 0))]...)
}

// recycle makes p ready for another message.
func (p *pending) recycle() {
	const bytes, headers = 1 << 10, 16 // what most messages do with: a shelf keeps thousands
	if cap(p.buf) > bytes || cap(p.msg.Headers) > headers {
		p.buf, p.msg.Headers = nil, nil
	}
	clear(p.msg.Headers)
	p.msg = sarama.ProducerMessage{Headers: p.msg.Headers[:0]}
	p.key, p.value, p.since, p.prev, p.next = nil, nil, time.Time{}, nil, nil
	p.err, p.out, p.done, p.batch, p.tx = nil, nil, nil, nil, nil
	p.state.Store(queued)
}

// A line is what is not settled, in the order of sending.
type line struct {
	head, tail *pending
	len        int
}

func (l *line) push(p *pending) {
	p.prev = l.tail
	if l.tail == nil {
		l.head = p
	} else {
		l.tail.next = p
	}
	l.tail = p
	l.len++
}

func (l *line) remove(p *pending) {
	if p.prev == nil {
		l.head = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		l.tail = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
	l.len--
}

// endsByItself reports whether a context may end while its message is being published, so that somebody
// has to watch it. That of a claim does so only when its flow gives up what is in flight, which waits for
// what is being published anyhow.
func endsByItself(ctx context.Context) bool {
	if ctx == nil {
		return false
	}
	done := ctx.Done()
	if done == nil {
		return false
	}
	c, ok := ctx.Value(claimKey{}).(*claimContext)
	return !ok || c.Done() != done
}
