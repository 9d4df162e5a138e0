package memory

import (
	"slices"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// Send publishes outs and takes them over: Headers and Payload are kept, not copied. It waits for
// nothing. An out that finds its topic full waits in the topic's queue, until there is room, its
// Context ends or the publisher is closed; with NoWait it fails at once with adapters.ErrFull. Errors
// are those of Publish, each for its own out. done is called from Send for what was decided at once,
// else from the goroutine that made room, and must not block.
func (p *Publisher) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	if err := p.broker.configure(); err != nil {
		for _, o := range outs {
			o.Err = err
		}
		done(outs)
		return
	}
	call := &sending{done: done}
	for len(outs) > 0 {
		n := 1
		for n < len(outs) && outs[n].Topic == outs[0].Topic {
			n++
		}
		p.send(outs[:n], call)
		outs = outs[n:]
	}
}

// send publishes outs of one topic under one lock.
func (p *Publisher) send(outs []*adapters.Outgoing, call *sending) {
	for _, o := range outs {
		o.Err = p.broker.conf.checkOut(o)
	}
	var waiting []*pending
	t := p.broker.lock(outs[0].Topic)
	closed := p.closedErr(t.name)
	for _, o := range outs {
		switch {
		case o.Err != nil:
		case closed != nil:
			o.Err = closed
		case t.queue.Len() == 0 && !t.full():
			t.store(outRecord(t, o))
		case o.NoWait:
			o.Err = t.errFull()
		default:
			w := &pending{rec: outRecord(t, o), from: p, out: o, ctx: o.Context, call: call}
			t.enqueue(w)
			waiting = append(waiting, w)
		}
	}
	t.unlock()
	if len(waiting) == 0 {
		call.done(outs)
		return
	}
	p.partly(outs, waiting, call)
}

// partly completes those of outs that do not wait, and watches those that do.
func (p *Publisher) partly(outs []*adapters.Outgoing, waiting []*pending, call *sending) {
	var decided []*adapters.Outgoing
	next := 0
	for _, o := range outs {
		if next < len(waiting) && waiting[next].out == o {
			next++
			continue
		}
		decided = append(decided, o)
	}
	for _, w := range waiting {
		w.watch(w.ctx)
	}
	if len(decided) > 0 {
		call.done(decided)
	}
}

func outRecord(t *topic, o *adapters.Outgoing) *record {
	return &record{topic: t, id: o.ID, key: o.Key, payload: o.Payload, fields: o.Headers}
}

func (s *settings) checkOut(o *adapters.Outgoing) error {
	count, bytes := len(o.Headers), 0
	for i := range o.Headers {
		bytes += len(o.Headers[i].Name) + len(o.Headers[i].Value)
	}
	if o.Key != "" { // It is a header to a plain subscriber.
		count++
		bytes += len(channel.HeaderKey) + len(o.Key)
	}
	return s.withinLimits(o.Payload, count, bytes, func() channel.Headers {
		fs := slices.Clip(o.Headers)
		if o.Key != "" {
			fs = append(fs, channel.Field{Name: channel.HeaderKey, Value: o.Key})
		}
		return fs
	})
}
