package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// inClient is how many messages the client has at most. What is beyond waits here, where it can fail
// without anybody having to wonder whether it was written.
const inClient = 16 << 10

// push queues a parcel's messages in order.
func (p *Publisher) push(x *parcel) {
	p.start.Do(func() { go p.feed() })
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		for i := range x.items {
			p.fail(&x.items[i], p.closedErr(x.items[i].msg.Topic))
		}
		return
	}
	x.since = time.Now()
	for i := range x.items {
		p.queue = append(p.queue, &x.items[i])
	}
	p.line.push(x)
	p.look(x.since)
	p.mu.Unlock()
	p.changed.Signal()
}

// feed hands what is queued to the client, which is made when there is something to hand over. It is the
// only goroutine that does, and so is the order of sending that of writing.
func (p *Publisher) feed() {
	defer close(p.fed)
	defer p.disconnect()
	var took, rest []*pending // what was taken from the queue, and what of that is still to be handed over
	for {
		p.mu.Lock()
		for p.waits(len(rest)) {
			p.changed.Wait()
		}
		if len(rest) == 0 {
			took, p.queue = p.queue, took[:0]
			rest = took
		}
		if len(rest) == 0 {
			p.mu.Unlock()
			return
		}
		n := min(len(rest), max(inClient-p.inside, 1))
		p.inside += n
		p.mu.Unlock()
		p.hand(rest[:n])
		clear(rest[:n])
		rest = rest[n:]
	}
}

// waits reports whether the feeder has nothing to do: nothing to hand over, or no room for it, and, once the
// publisher is closed, messages that are still to be answered.
func (p *Publisher) waits(rest int) bool {
	nothing := rest == 0 && len(p.queue) == 0
	if p.closed {
		return nothing && p.line.first() != nil
	}
	return nothing || p.inside >= inClient
}

// hand gives a run to the client, which may take its time.
func (p *Publisher) hand(run []*pending) {
	err := p.connect()
	away := 0 // not with the client after all
	for _, x := range run {
		fail := err
		if fail == nil {
			fail = x.ended()
		}
		if fail == nil {
			fail = p.exists(x.msg.Topic)
		}
		switch {
		case fail != nil:
			away++
			p.fail(x, fmt.Errorf("not sent: %w", fail))
		case x.state.CompareAndSwap(queued, given):
			p.producer.Input() <- &x.msg
		default:
			away++
		}
	}
	if away > 0 {
		p.mu.Lock()
		p.inside -= away
		p.mu.Unlock()
	}
}

// connect makes the client if there is none.
func (p *Publisher) connect() error {
	if p.producer != nil {
		return nil
	}
	conf, err := p.conf.config()
	if err != nil {
		return err
	}
	line := newLifeline(conf)
	client, err := p.conf.Cluster.connect(context.Background(), conf)
	if err != nil {
		return err
	}
	producer, err := line.producer(client)
	if err != nil {
		_ = client.Close()
		return p.conf.Cluster.unreachable(err)
	}
	p.mu.Lock()
	p.client, p.producer, p.lifeline = client, producer, line
	p.mu.Unlock()
	p.read.Go(p.results)
	return nil
}

// disconnect ends the client. What it still has was given up long ago.
func (p *Publisher) disconnect() {
	p.mu.Lock()
	left := p.inside
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	if p.producer == nil {
		return
	}
	if left > 0 {
		p.lifeline.cut.Store(true)
		_ = p.client.Close()
	}
	p.producer.AsyncClose()
	p.read.Wait()
	_ = p.client.Close()
}

// results reads what became of messages, many at a time.
func (p *Publisher) results() {
	const many = 256
	successes, failures := p.producer.Successes(), p.producer.Errors()
	batch, told, outs := make([]answer, 0, many), make([]*pending, many), make([]*adapters.Outgoing, many)
	take := func(m *sarama.ProducerMessage, err error) {
		batch = append(batch, answer{m.Metadata.(*pending), err}) //nolint:forcetypeassert // It is what the feeder gave.
	}
	for successes != nil || failures != nil {
		select {
		case m, ok := <-successes:
			if !ok {
				successes = nil
				continue
			}
			take(m, nil)
		case e, ok := <-failures:
			if !ok {
				failures = nil
				continue
			}
			take(e.Msg, sendError(e))
		}
	more:
		for len(batch) < many {
			select {
			case m, ok := <-successes:
				if !ok {
					successes = nil
					break more
				}
				take(m, nil)
			default:
				break more
			}
		}
		p.answered(batch, told[:0], outs[:0])
		clear(batch)
		clear(told[:len(batch)])
		clear(outs[:len(batch)])
		batch = batch[:0]
	}
}

// An answer is the client's. It is not written into the message before that is ours to settle: it may just
// be given up.
type answer struct {
	of  *pending
	err error
}

// answered settles messages that the client has answered for. told and outs are where it lists those.
func (p *Publisher) answered(as []answer, told []*pending, outs []*adapters.Outgoing) {
	for _, a := range as {
		x := a.of
		if !x.state.CompareAndSwap(given, settled) { // its sender was told long ago
			continue
		}
		x.err = a.err
		told = append(told, x)
	}
	p.mu.Lock()
	full := p.inside >= inClient
	p.inside -= len(as)
	for _, x := range told {
		p.line.settle(x.of)
	}
	wake := full || p.closed
	p.mu.Unlock()
	if wake {
		p.changed.Signal()
	}
	tell(told, outs)
}

// tell tells senders what became of their messages, which are in the order of sending. outs is where it lists
// those.
func tell(ps []*pending, outs []*adapters.Outgoing) {
	for len(ps) > 0 {
		of, n := ps[0].of, 1
		for n < len(ps) && ps[n].of == of {
			n++
		}
		of.tell(ps[:n], outs)
		ps = ps[n:]
	}
}

// tell tells a parcel's sender what became of some of it.
func (p *parcel) tell(ps []*pending, outs []*adapters.Outgoing) {
	if b := p.batch; b != nil {
		for _, x := range ps {
			b.errs[x.at] = x.err
		}
		if b.left.Add(-int32(len(ps))) == 0 { //nolint:gosec // Nobody publishes 2^31 messages.
			close(b.through)
		}
		return
	}
	for _, x := range ps {
		x.out.Err = x.err
		outs = append(outs, x.out)
	}
	p.done(outs)
}

// fail settles a message that is not with the client.
func (p *Publisher) fail(x *pending, err error) {
	if !x.state.CompareAndSwap(queued, settled) {
		return
	}
	x.err = err
	p.mu.Lock()
	p.line.settle(x.of)
	if p.closed {
		p.changed.Signal()
	}
	p.mu.Unlock()
	tell([]*pending{x}, nil)
}

// giveUp settles a message that the feeder or the client may still have. It reports false if it is settled
// already.
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

// attention is how long it takes to notice that a message's context has ended.
const attention = 20 * time.Millisecond

// look sees to it that somebody looks at what waits, in time for the oldest, and for those that have a context. The
// lock is held.
func (p *Publisher) look(now time.Time) {
	first := p.line.first()
	if first == nil {
		return
	}
	next := first.since.Add(p.conf.SendTimeout)
	if soon := now.Add(attention); p.line.watched > 0 && soon.Before(next) {
		next = soon
	}
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(next.Sub(now), p.late)
	case !p.rings.IsZero() && !next.Before(p.rings):
		return
	default:
		p.timer.Reset(next.Sub(now))
	}
	p.rings = next
}

// late fails every message that has waited for SendTimeout, and those whose contexts have ended.
func (p *Publisher) late() {
	waited := fmt.Errorf("waited %v for Kafka at %v: %w", p.conf.SendTimeout, p.conf.Cluster.Brokers, context.DeadlineExceeded)
	var old []*pending
	p.mu.Lock()
	now := time.Now()
	for e := p.line.parcels.Front(); e != nil; {
		x := parcelAt(e)
		e = e.Next() // before x may go
		expired := now.Sub(x.since) >= p.conf.SendTimeout
		if !expired && p.line.watched == 0 {
			break
		}
		if !expired && !x.watched {
			continue
		}
		for i := range x.items {
			item := &x.items[i]
			why := waited
			if !expired {
				if why = item.ended(); why == nil {
					continue
				}
			}
			if item.giveUp(why) {
				p.line.settle(x)
				old = append(old, item)
			}
		}
	}
	p.rings = time.Time{}
	p.look(now)
	if p.closed {
		p.changed.Signal()
	}
	p.mu.Unlock()
	tell(old, nil)
}

// ended says why the message's context has ended, nil if it has not.
func (x *pending) ended() error {
	if x.ctx == nil || x.ctx.Err() == nil {
		return nil
	}
	return context.Cause(x.ctx)
}

// sendError says what the client's error means.
func sendError(e *sarama.ProducerError) error {
	err := e.Err
	switch {
	case errors.Is(err, sarama.ErrMessageSizeTooLarge):
		return fmt.Errorf("%w: topic %q: %w: raise its max.message.bytes, or lower PublisherConfig.Limits", channel.ErrTooLarge, e.Msg.Topic, err)
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return noTopic(e.Msg.Topic)
	}
	return fmt.Errorf("topic %q: %w", e.Msg.Topic, err)
}
