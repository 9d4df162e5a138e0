package kafka

import (
	"container/list"
	"context"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/lazy"
)

// A parcel is what one call publishes. All that the client needs of its messages is in three pieces of memory, one
// message behind the other, which are used once: what is used again is scattered, and comes back when the processor
// no longer has it at hand. That costs more than new memory does.
type parcel struct {
	items   []pending
	headers []sarama.RecordHeader
	texts   []byte // ids, keys, names and values of headers

	// By the publisher's mu.
	since   time.Time     // it was queued
	left    int           // items that are not settled
	watched bool          // one of them has a context
	place   *list.Element // in the line; nil: it is not queued

	// Who is told, one of them.
	done  func([]*adapters.Outgoing) // of a Send
	batch *batch                     // of a Publish
	tx    *sends                     // of a transaction

	one [1]pending // items, if it is one
}

// A pending is one message until its sender knows what became of it.
type pending struct {
	of    *parcel
	msg   sarama.ProducerMessage
	key   body
	value body
	state atomic.Uint32      // queued, given or settled
	ctx   context.Context    //nolint:containedctx // The message's; nil: it does not end.
	out   *adapters.Outgoing // of a Send or a transaction
	at    int                // of a Publish: its index there
	err   error
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

// A line is what is not settled, in the order of sending.
type line struct {
	parcels list.List
	watched int // of them
}

// first is the oldest, nil if there is none.
func (l *line) first() *parcel { return parcelAt(l.parcels.Front()) }

func parcelAt(e *list.Element) *parcel {
	if e == nil {
		return nil
	}
	return e.Value.(*parcel) //nolint:forcetypeassert // The line has parcels only.
}

func (l *line) push(p *parcel) {
	p.place = l.parcels.PushBack(p)
	if p.watched {
		l.watched++
	}
}

// settle notes that one more of a parcel's items is settled.
func (l *line) settle(p *parcel) {
	if p.left--; p.left > 0 || p.place == nil {
		return
	}
	l.parcels.Remove(p.place)
	if p.watched {
		l.watched--
	}
}

// mayEnd reports whether a context may end while its message is being published, so that it has to be looked at.
// That of a claim does so only when its flow gives up what is in flight, which waits for what is being published
// anyhow.
func mayEnd(ctx context.Context) bool {
	switch ctx.(type) {
	case nil, *claimContext:
		return false
	}
	if lazy.In(ctx) {
		return true
	}
	done := ctx.Done()
	if done == nil {
		return false
	}
	c, ok := ctx.Value(claimKey{}).(*claimContext)
	return !ok || c.Done() != done
}
