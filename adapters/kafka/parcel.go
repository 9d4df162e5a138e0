package kafka

import (
	"container/list"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/lazy"
)

// A parcel is what one call publishes. All that the client needs of its messages is in few pieces of memory, one
// message behind the other, which are used once: what is used again is scattered, and comes back when the processor
// no longer has it at hand. That costs more than new memory does.
type parcel struct {
	items   []pending
	headers []sarama.RecordHeader
	lists   []*sarama.RecordHeader // of headers, as the client wants them
	texts   []byte                 // ids, keys, names and values of headers

	// By the publisher's mu.
	since   time.Time     // it was queued
	left    int           // items that are not settled
	watched bool          // one of them has a context
	place   *list.Element // in the line
	news    []*pending    // settled, and the sender is about to be told

	// Who is told, one of them.
	done    func([]*adapters.Outgoing) // of a Send
	results *results                   // of a Publish

	one [1]pending // items, if it is one
}

// A pending is one message until its sender knows what became of it.
type pending struct {
	of    *parcel
	topic string
	rec   sarama.Record
	bytes int                // of the record, about
	state atomic.Uint32      // queued, given or settled
	ctx   context.Context    //nolint:containedctx // The message's; nil: it does not end.
	out   *adapters.Outgoing // of a Send or a transaction
	at    int                // of a Publish: its index there
	err   error
}

// The states of a pending. Whoever moves it to settled tells its sender.
const (
	queued uint32 = iota // not in a batch, and so with no broker
	given                // in a batch: a broker may have it
	settled
)

// The results are those of one Publish.
type results struct {
	errs    []error
	left    atomic.Int32
	through chan struct{}
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

// ended says why the message's context has ended, nil if it has not.
func (x *pending) ended() error {
	if x.ctx == nil || x.ctx.Err() == nil {
		return nil
	}
	return context.Cause(x.ctx)
}

// watch has the message fail when its context ends.
func (x *pending) watch(ctx context.Context) {
	if mayEnd(ctx) {
		x.ctx, x.of.watched = ctx, true
	}
}

// giveUp settles a message that a broker may have. It reports false if it is settled already.
func (x *pending) giveUp(why error) bool {
	switch {
	case x.state.CompareAndSwap(queued, settled):
		x.err = fmt.Errorf("not sent: %w", why)
	case x.state.CompareAndSwap(given, settled):
		x.err = fmt.Errorf("%w: %w", ErrUnknown, why)
	default:
		return false
	}
	return true
}

// tell tells a parcel's sender what became of some of it.
func (p *parcel) tell(xs []*pending) {
	if r := p.results; r != nil {
		for _, x := range xs {
			r.errs[x.at] = x.err
		}
		if r.left.Add(-int32(len(xs))) == 0 { //nolint:gosec // Nobody publishes 2^31 messages.
			close(r.through)
		}
		return
	}
	outs := make([]*adapters.Outgoing, len(xs))
	for i, x := range xs {
		x.out.Err = x.err
		outs[i] = x.out
	}
	p.done(outs)
}
