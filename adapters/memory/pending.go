package memory

import (
	"container/list"
	"context"
	"fmt"

	"github.com/leat-go/leat/adapters"
)

// A pending is a publish that waits for room in its topic. The topic's lock guards it until it is
// settled.
type pending struct {
	rec  *record
	from *Publisher
	at   *list.Element // nil: not, or no longer, in the queue
	err  error
	stop func() bool // of the watch on its context, nil if that never ends
	// turn: it is no publish but a transaction, which looks for room again when there is some here, once
	// groups have finished so much.
	turn  bool
	freed map[*group]int

	wait chan error         // of a Publish
	out  *adapters.Outgoing // of a Send
	ctx  context.Context    //nolint:containedctx // That of out, which is its owner's again once settled.
	call *sending
}

// sending is the done of one Send, so that outs of one call complete together.
type sending struct {
	done func([]*adapters.Outgoing)
}

// watch has a publish that was queued fail when its context ends. It is called without the lock:
// contexts are other people's code.
func (p *pending) watch(ctx context.Context) {
	if ctx == nil || ctx.Done() == nil {
		return
	}
	t := p.rec.topic
	stop := context.AfterFunc(ctx, func() {
		t.mu.Lock()
		if p.at != nil {
			t.settle(p, fmt.Errorf("%w: %w", t.errFull(), context.Cause(ctx)))
		}
		t.unlock()
	})
	t.mu.Lock()
	waits := p.at != nil
	if waits {
		p.stop = stop
	}
	t.unlock()
	if !waits {
		stop()
	}
}

// enqueue has a publish wait behind those that wait already.
func (t *topic) enqueue(p *pending) { p.at = t.queue.PushBack(p) }

// admit stores the publishes that wait, as far as there is room.
func (t *topic) admit() {
	for e := t.queue.Front(); e != nil; e = t.queue.Front() {
		p := e.Value.(*pending) //nolint:forcetypeassert // Nothing else is queued.
		if t.fullWithout(p.freed) {
			return
		}
		if p.turn {
			t.settle(p, nil)
			return
		}
		t.store(p.rec)
		t.settle(p, nil)
	}
}

// settle takes a publish out of the queue.
func (t *topic) settle(p *pending, err error) {
	if p.at != nil {
		t.queue.Remove(p.at)
		p.at = nil
	}
	p.err = err
	t.settled = append(t.settled, p)
}

// complete tells publishers what became of their messages.
func complete(ps []*pending) {
	for i := 0; i < len(ps); {
		p := ps[i]
		if p.stop != nil {
			p.stop()
		}
		if p.wait != nil {
			p.wait <- p.err // it has room for one
			i++
			continue
		}
		var outs []*adapters.Outgoing
		for ; i < len(ps) && ps[i].call == p.call; i++ {
			if stop := ps[i].stop; stop != nil {
				stop()
			}
			ps[i].out.Err = ps[i].err
			outs = append(outs, ps[i].out)
		}
		p.call.done(outs)
	}
}

// fail ends the publishes of one end, nil for all, that wait for room.
func (b *Broker) fail(from *Publisher) {
	b.topics.Range(func(_, v any) bool {
		t := v.(*topic) //nolint:forcetypeassert // Nothing else is stored.
		t.mu.Lock()
		for e := t.queue.Front(); e != nil; {
			next := e.Next()
			if p := e.Value.(*pending); from == nil || p.from == from { //nolint:forcetypeassert // As above.
				t.settle(p, p.from.closedErr(t.name))
			}
			e = next
		}
		t.unlock()
		return true
	})
}
