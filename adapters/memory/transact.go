package memory

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

var errForeign = errors.New("claim is not of this memory broker")

// Recover does nothing: what a publisher had under way has ended with the process.
func (*Publisher) Recover(context.Context, []message.Subscriber) error { return nil }

// Transact stores all of outs and finishes all records, or does nothing. Whoever reads sees both or
// neither. While a topic of outs is full it waits, until ctx ends or a claim is lost; an out that says NoWait fails instead,
// with adapters.ErrFull. A topic counts as full as if the records were finished already; one that is not
// full takes all that is for it, and may so exceed Broker.Bound by one transaction.
//
// An error is adapters.ErrLost if a claim has let go of a record, or one that wraps channel.ErrTooLarge,
// adapters.ErrFull or adapters.ErrClosed; what is wrong with a single out is in its Err too. It takes outs
// over as Send does. Unlike the interface asks, several calls at once do no harm.
func (p *Publisher) Transact(ctx context.Context, finished []adapters.Finished, outs []*adapters.Outgoing) error {
	x := &transaction{from: p}
	if err := x.plan(finished, outs); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, d := range x.done {
		defer context.AfterFunc(d.claim.ctx, func() { cancel(d.claim.errLostIn()) })()
	}
	for again := false; ; again = true {
		wait, err := x.try(ctx, again)
		if wait == nil {
			return err
		}
		wait.watch(ctx)
		if err := <-wait.wait; err != nil {
			return fmt.Errorf("transaction: %w", err)
		}
	}
}

// A transaction is one call of Transact.
type transaction struct {
	from   *Publisher
	names  []string // of every topic in it, sorted: that is the order of the locks
	topics []*topic // the same, locked
	done   []done
	outs   []*adapters.Outgoing
	onto   []*topic // of outs: where each goes
}

// done is what one claim finishes.
type done struct {
	claim   *claim
	records []*adapters.Record
}

// plan finds what is wrong with the transaction whatever the topics look like.
func (x *transaction) plan(finished []adapters.Finished, outs []*adapters.Outgoing) error {
	conf, names := &x.from.broker.conf, map[string]struct{}{}
	if err := x.from.broker.configure(); err != nil {
		return err
	}
	for i := range finished {
		c := claimOf(finished[i].Claim)
		if c == nil || c.end.broker != x.from.broker {
			return fmt.Errorf("transaction: topic %q: %w: %T", finished[i].Claim.Topic(), errForeign, finished[i].Claim)
		}
		x.done = append(x.done, done{c, finished[i].Records})
		names[c.topic] = struct{}{}
	}
	var err error
	for _, o := range outs {
		names[o.Topic] = struct{}{}
		if o.Err = conf.checkOut(o); o.Err != nil && err == nil {
			err = fmt.Errorf("transaction: message %q for topic %q: %w", o.ID, o.Topic, o.Err)
		}
	}
	x.outs, x.names = outs, slices.Sorted(maps.Keys(names))
	return err
}

// claimOf finds the broker's own claim, through decorators that have an Unwrap method.
func claimOf(c adapters.Claim) *claim {
	for {
		switch u := c.(type) {
		case *claim:
			return u
		case interface{ Unwrap() adapters.Claim }:
			c = u.Unwrap()
		default:
			return nil
		}
	}
}

// try does all of it, or nothing. If it finds a topic full it gives what to wait for. Again, it waits
// before all others.
func (x *transaction) try(ctx context.Context, again bool) (*pending, error) {
	x.topics = x.topics[:0]
	for _, name := range x.names {
		x.topics = append(x.topics, x.from.broker.lock(name))
	}
	defer x.unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("transaction: %w", context.Cause(ctx))
	}
	for _, name := range x.names {
		if err := x.from.closedErr(name); err != nil {
			return nil, fmt.Errorf("transaction: %w", err)
		}
	}
	if err := x.owned(); err != nil {
		return nil, err
	}
	freed := map[*group]int{}
	for _, d := range x.done {
		freed[d.claim.group] += len(d.records)
	}
	if full, err := x.room(freed); full != nil || err != nil {
		if err != nil {
			return nil, err
		}
		w := &pending{rec: &record{topic: full}, from: x.from, wait: make(chan error, 1), turn: true, freed: freed}
		if w.at = full.queue.PushBack(w); again {
			full.queue.MoveToFront(w.at)
		}
		return w, nil
	}
	for _, d := range x.done {
		for i := range d.records {
			if r, ok := d.records[i].Native.(*delivery); ok && d.claim.has(r, d.records[i].Again) {
				d.claim.member.settle(r, acked)
			}
		}
	}
	for i, o := range x.outs {
		x.onto[i].store(outRecord(x.onto[i], o))
	}
	return nil, nil //nolint:nilnil // There is nothing to wait for.
}

// owned reports a claim that has let go of what is to be finished.
func (x *transaction) owned() error {
	for _, d := range x.done {
		c := d.claim
		lost := c.gone || c.ctx.Err() != nil || c.group.topic != x.topic(c.topic)
		for i := 0; i < len(d.records) && !lost; i++ {
			r, ok := d.records[i].Native.(*delivery)
			lost = !ok || !c.has(r, d.records[i].Again)
		}
		if lost {
			return fmt.Errorf("transaction: %w", c.errLostIn())
		}
	}
	return nil
}

func (c *claim) errLostIn() error { return fmt.Errorf("topic %q: %w", c.topic, adapters.ErrLost) }

func (x *transaction) topic(name string) *topic {
	i, _ := slices.BinarySearch(x.names, name)
	return x.topics[i]
}

// room gives a topic that has none for what goes there, or fails those of outs that do not wait for it.
func (x *transaction) room(freed map[*group]int) (full *topic, err error) {
	why := map[*topic]error{}
	x.onto = x.onto[:0]
	for _, o := range x.outs {
		t := x.topic(o.Topic)
		x.onto = append(x.onto, t)
		if !t.fullWithout(freed) {
			continue
		}
		if full = t; !o.NoWait {
			continue
		}
		if o.Err = why[t]; o.Err == nil {
			o.Err = t.errFull()
			why[t] = o.Err
		}
		if err == nil {
			err = fmt.Errorf("transaction: message %q: %w", o.ID, o.Err)
		}
	}
	return full, err
}

// unlock is that of every topic: nobody is told of anything before all of them are free.
func (x *transaction) unlock() {
	var wake []*member
	var settled []*pending
	for _, t := range x.topics {
		t.let()
		wake, settled = append(wake, t.wake...), append(settled, t.settled...)
		clear(t.wake)
		t.wake, t.settled = t.wake[:0], nil
		t.mu.Unlock()
	}
	awake(wake)
	complete(settled)
}
