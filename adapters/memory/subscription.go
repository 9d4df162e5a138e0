package memory

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/leat-go/leat/internal/lazy"
)

// A subscription delivers to the channel of one Subscribe. Its workers take turns: the one that leads
// takes a record, offers it and waits for its acknowledgement, and hands the lead on only when another
// record could be delivered meanwhile. So there are as many workers as messages have been in flight at
// once, and one where order allows one.
type subscription struct {
	*consumer

	ctx      context.Context //nolint:containedctx // That of Subscribe.
	unwatch  func() bool
	messages chan *message.Message
	baton    chan struct{} // the lead, handed to a worker that rests
	workers  atomic.Int32
}

// work is a worker, from when it first leads.
func (s *subscription) work() {
	defer s.rest()
	d, more := s.lead(nil, acked)
	empty := message.NewMessage("", nil)
	for d != nil {
		m := d.fill(empty)
		mctx := &messageContext{Context: lazy.Context{Context: s.ctx}, again: d.again}
		m.SetContext(mctx)
		if !s.offer(m) {
			mctx.End(nil)
			s.settle(d, unoffered)
			return
		}
		leads := true
		if s.limit > 1 && (more || s.couldMore()) {
			s.pass()
			leads = false
		}
		empty = message.NewMessage("", nil) // while the reader works, instead of while it waits
		f := s.await(m, &leads)
		if f == lost {
			mctx.End(s.errLost())
		} else {
			mctx.End(nil)
		}
		if leads {
			d, more = s.lead(d, f)
			continue
		}
		s.settle(d, f)
		select {
		case <-s.baton:
			d, more = s.lead(nil, acked)
		case <-s.stopping:
			return
		}
	}
}

// offer reports whether somebody took the message before the subscription stopped.
func (s *subscription) offer(m *message.Message) bool {
	select {
	case s.messages <- m: // a reader waits: this costs half of the select below
		return true
	default:
	}
	select {
	case s.messages <- m:
		return true
	case <-s.stopping:
		return false
	}
}

// lead settles the last record, if there is one, and takes the next; it waits for it. It gives nil
// when the subscription stops, and tells whether there was more.
func (s *subscription) lead(last *delivery, f fate) (d *delivery, more bool) {
	t := s.group.topic
	for {
		stopped := s.stopped()
		t.mu.Lock()
		if last != nil {
			s.blocked = false // nobody need be told: this is who waits
			s.setHungry(false)
			s.member.settle(last, f)
			last = nil
		}
		if !stopped {
			d = s.one()
		}
		more = d != nil && s.group.ready.head != nil && len(s.out) < s.limit
		t.unlock()
		if stopped {
			s.sate()
		}
		if d != nil || stopped {
			return d, more
		}
		select {
		case <-s.wake:
		case <-s.stopping:
		}
	}
}

// couldMore reports whether another record could be delivered now; if not, wake tells when.
func (s *subscription) couldMore() bool {
	t := s.group.topic
	t.mu.Lock()
	defer t.unlock()
	switch {
	case len(s.out) >= s.limit:
		s.blocked = true
	case s.group.ready.head == nil:
		s.setHungry(true)
	default:
		return true
	}
	return false
}

// pass hands the lead to a worker that rests, or to a new one.
func (s *subscription) pass() {
	select {
	case s.baton <- struct{}{}:
	default:
		s.workers.Add(1)
		go s.work()
	}
}

// await waits for what becomes of a message in flight. If it leads it passes the lead on when more can
// be delivered.
func (s *subscription) await(m *message.Message, leads *bool) fate {
	stopping := s.stopping
	var wake, forced chan struct{}
	if *leads && s.limit > 1 {
		wake = s.wake
	} else { // the usual case in a select of its own: each case of one costs
		select {
		case <-m.Acked():
			return acked
		case <-m.Nacked():
			return nacked
		case <-stopping:
		}
	}
	for {
		select {
		case <-m.Acked():
			return acked
		case <-m.Nacked():
			return nacked
		case <-wake:
			wake, *leads = nil, false
			s.pass()
		case <-stopping:
			stopping, wake, forced = nil, nil, s.forced
			s.sate()
		case <-forced:
			select {
			case <-m.Acked(): // in time after all
				return acked
			default:
				return lost
			}
		}
	}
}

func (s *subscription) settle(d *delivery, f fate) {
	t := s.group.topic
	t.mu.Lock()
	s.member.settle(d, f)
	t.unlock()
}

// rest ends a worker. The last one ends the subscription.
func (s *subscription) rest() {
	if s.workers.Add(-1) > 0 {
		return
	}
	s.unwatch()
	s.timer.Stop()
	s.giveBack()
	close(s.messages) // after all else: whoever sees it finds everything given back
	s.depart()
}
