package kafka

import (
	"container/list"
	"context"
	"fmt"
	"time"
)

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
	if p.left--; p.left > 0 {
		return
	}
	l.parcels.Remove(p.place)
	if p.watched {
		l.watched--
	}
}

// push takes a parcel in.
func (p *Publisher) push(x *parcel) {
	p.start.Do(func() { go p.writer.run() })
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		for i := range x.items {
			item := &x.items[i]
			item.state.Store(settled)
			item.err = p.closedErr(item.topic)
			x.tell([]*pending{item})
		}
		return
	}
	x.since = time.Now()
	p.line.push(x)
	p.look(x.since)
	p.mu.Unlock()
	p.writer.write(x)
}

// settle tells senders of messages that are settled.
func (p *Publisher) settle(xs []*pending) {
	parcels := make([]*parcel, 0, 1)
	p.mu.Lock()
	for _, x := range xs {
		p.line.settle(x.of)
		if x.of.news == nil {
			parcels = append(parcels, x.of)
		}
		x.of.news = append(x.of.news, x)
	}
	news := make([][]*pending, len(parcels))
	for i, x := range parcels {
		news[i], x.news = x.news, nil
	}
	p.emptied()
	p.mu.Unlock()
	for i, x := range parcels {
		x.tell(news[i])
	}
}

// emptied lets Close go on. The lock is held.
func (p *Publisher) emptied() {
	if p.closed && p.line.first() == nil {
		p.empty.Do(func() { close(p.through) })
	}
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
	var old []*pending
	waited := map[string]error{} // by topic
	p.mu.Lock()
	now := time.Now()
	for e := p.line.parcels.Front(); e != nil; e = e.Next() {
		x := parcelAt(e)
		expired := now.Sub(x.since) >= p.conf.SendTimeout
		if !expired && p.line.watched == 0 {
			break
		}
		if !expired && !x.watched {
			continue
		}
		for i := range x.items {
			item := &x.items[i]
			why := item.ended()
			if expired {
				if waited[item.topic] == nil {
					waited[item.topic] = p.waited(item.topic)
				}
				why = waited[item.topic]
			}
			if why != nil && item.giveUp(why) {
				old = append(old, item)
			}
		}
	}
	p.rings = time.Time{}
	p.telling.Add(len(old)) // the line has them, so that Close does not wait for this yet
	p.mu.Unlock()
	if len(old) > 0 {
		p.settle(old)
		p.telling.Add(-len(old))
	}
	p.mu.Lock()
	p.look(time.Now())
	p.mu.Unlock()
}

// waited is why a message is given up that has waited for SendTimeout.
func (p *Publisher) waited(topic string) error {
	err := fmt.Errorf("waited %v for Kafka at %v: %w", p.conf.SendTimeout, p.conf.Cluster.Brokers, context.DeadlineExceeded)
	if trouble := p.writer.trouble(topic); trouble != nil {
		return fmt.Errorf("%w: %w", err, trouble)
	}
	return err
}
