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

var pendings = sync.Pool{New: func() any { return &pending{} }} //nolint:gochecknoglobals // It holds no state of anybody.

func newPending() *pending { return pendings.Get().(*pending) } //nolint:forcetypeassert // The pool holds nothing else.

// recycle makes p ready for another message. Nobody else may know it.
func (p *pending) recycle() {
	const keep = 64 << 10
	if cap(p.buf) > keep {
		p.buf, p.msg.Headers = nil, nil
	}
	headers := p.msg.Headers[:cap(p.msg.Headers)]
	clear(headers)
	p.msg = sarama.ProducerMessage{Headers: headers[:0]}
	p.key, p.value, p.since, p.prev, p.next = nil, nil, time.Time{}, nil, nil
	p.err, p.out, p.done, p.batch, p.tx = nil, nil, nil, nil, nil
	p.state.Store(queued)
	pendings.Put(p)
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
