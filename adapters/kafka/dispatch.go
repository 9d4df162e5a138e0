package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// A partition is what waits for one partition, and its batch.
type partition struct {
	of      *destination
	number  int32
	waiting []*pending // in no batch
	batch   *batch     // under way, or to be sent again
	busy    bool       // run waits for something about it, and leaves it alone until then
	touched bool

	leader   *sarama.Broker
	identity *identity
	sequence int32 // of the next batch
	failures int   // in a row
	most     int   // bytes of a batch
	enlisted int   // in which transaction
}

// A desk is a broker that is written to.
type desk struct {
	broker *sarama.Broker
	ready  []*partition // to be sent to
	open   int          // requests under way
}

const (
	openRequests = 2       // at once, to a broker: one is on its way while the other is answered
	requestBytes = 8 << 20 // of one
)

// touch has a partition looked at in this round.
func (w *writer) touch(p *partition) {
	if !p.touched {
		p.touched = true
		w.touched = append(w.touched, p)
	}
}

// dispatch sends what can be sent, and has looked up what is missing for the rest.
func (w *writer) dispatch() {
	for i := 0; i < len(w.touched); i++ { //nolint:intrange // It grows: leave touches others.
		p := w.touched[i]
		p.touched = false
		if p.isGone() {
			w.leave(p)
		}
		if p.busy || p.batch == nil && len(p.waiting) == 0 || !w.isReady(p) {
			continue
		}
		p.busy = true
		d := w.desks[p.leader]
		if d == nil {
			d = &desk{broker: p.leader}
			w.desks[p.leader] = d
		}
		d.ready = append(d.ready, p)
	}
	clear(w.touched)
	w.touched = w.touched[:0]
	w.enlist()
	for _, d := range w.desks {
		w.serve(d)
	}
}

// isReady reports whether a partition may be written to. What is missing for that is on its way then.
func (w *writer) isReady(p *partition) bool {
	switch {
	case w.transaction != nil && w.transaction.failed != nil:
		err := fmt.Errorf("%w: %w", errBesides, w.transaction.failed)
		w.failAll(p, err)
		w.abandon(p, err)
	case p.leader == nil:
		w.find(p)
	case p.identity == nil && !w.identify(p):
	case w.transaction != nil && p.enlisted != w.transaction.number:
		p.busy = true
		w.joining = append(w.joining, p)
	default:
		return true
	}
	return false
}

// find looks up who leads a partition.
func (w *writer) find(p *partition) {
	p.busy = true
	afresh := p.failures > 0
	w.away.Go(func() {
		var err error
		if afresh {
			err = refresh(w.client, p.of.name)
		}
		var leader *sarama.Broker
		if err == nil {
			leader, err = w.client.Leader(p.of.name, p.number)
		}
		w.do(func() {
			p.busy = false
			w.dropAbandoned(p)
			if err != nil {
				if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
					w.look(p.of)
				}
				w.rest(p, reason(p.of.name, err))
				return
			}
			p.leader = leader
			w.touch(p)
		})
	})
}

// enlist makes partitions that have none of it yet part of the transaction.
func (w *writer) enlist() {
	ps := w.joining
	if len(ps) == 0 {
		return
	}
	w.joining = nil
	number := w.transaction.number
	w.away.Go(func() {
		errs := w.transaction.enlist(ps)
		w.do(func() {
			for i, p := range ps {
				p.busy = false
				if errs[i] != nil {
					w.failAll(p, errs[i])
					continue
				}
				p.enlisted = number
				w.touch(p)
			}
		})
	})
}

// failAll fails what waits for a partition.
func (w *writer) failAll(p *partition, err error) {
	for _, x := range p.waiting {
		w.fail(x, err)
	}
	clear(p.waiting)
	p.waiting = p.waiting[:0]
}

// abandon settles a batch that is not sent again.
func (w *writer) abandon(p *partition, err error) {
	if p.batch == nil {
		return
	}
	for _, x := range p.batch.items {
		if x.state.CompareAndSwap(given, settled) {
			x.err = fmt.Errorf("%w: %w", ErrUnknown, err)
			w.failed = append(w.failed, x)
		}
	}
	p.batch = nil
}

// serve sends requests to a broker, as many as may be open at once.
func (w *writer) serve(d *desk) {
	for d.open < openRequests && len(d.ready) > 0 {
		var bs []*batch
		n, bytes := 0, 0
		for ; n < len(d.ready) && bytes < requestBytes; n++ {
			p := d.ready[n]
			if p.batch == nil {
				p.batch = w.pack(p)
			}
			if p.batch == nil { // all of it is settled
				p.busy = false
				continue
			}
			bs = append(bs, p.batch)
			bytes += p.batch.bytes
		}
		d.ready = append(d.ready[:0], d.ready[n:]...)
		if len(bs) == 0 {
			continue
		}
		d.open++
		w.away.Go(func() {
			w.request(d.broker, bs)
			w.do(func() { w.back(d, bs) })
		})
	}
	if d.open == 0 && len(d.ready) == 0 {
		delete(w.desks, d.broker)
	}
}

// pack makes a batch of what waits for a partition, nil if nobody waits any more.
func (w *writer) pack(p *partition) *batch {
	b := &batch{to: p}
	n := 0
	for ; n < len(p.waiting); n++ {
		x := p.waiting[n]
		if len(b.items) > 0 && b.bytes+x.bytes > p.most {
			break
		}
		if err := x.ended(); err != nil {
			w.fail(x, err)
			continue
		}
		if !x.state.CompareAndSwap(queued, given) {
			continue
		}
		if b.items == nil {
			b.items = make([]*pending, 0, len(p.waiting)-n)
		}
		b.items = append(b.items, x)
		b.bytes += x.bytes
	}
	rest := copy(p.waiting, p.waiting[n:])
	clear(p.waiting[rest:])
	p.waiting = p.waiting[:rest]
	if len(b.items) == 0 {
		return nil
	}
	return b
}
