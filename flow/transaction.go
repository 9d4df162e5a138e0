package flow

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/letter"
	"github.com/leat-go/leat/tracing"
)

// An answer is what became of a work that was handed to the committer.
type answer uint8

const (
	unanswered answer = iota // it was not handed over: its sends are through
	committed                // what it caused is published, and its record finished
	refused                  // some of what it caused never will be
	withdrawn                // it is to be given back
)

// A batch is what one transaction has.
type batch struct {
	parts    []part
	finished []adapters.Finished
	outs     []*adapters.Outgoing
	loose    []*loose
	messages int
	bytes    int
}

// A part is what one sequence has in a batch: its first slots.
type part struct {
	seq     *sequence
	slots   []*slot
	refused bool // a work of it was
	blamed  bool // what it caused is why the transaction failed
	crowded bool // that is: there is no room for it on a topic that the flow itself has to empty
	pause   time.Duration
}

func (b *batch) full() bool { return b.messages >= batchMessages || b.bytes >= batchBytes }

func (b *batch) add(x *loose) {
	b.loose = append(b.loose, x)
	b.send(x.outs)
}

func (b *batch) send(outs []*adapters.Outgoing) {
	b.outs = append(b.outs, outs...)
	b.messages += len(outs)
	for _, o := range outs {
		b.bytes += len(o.Payload)
		o.Err = nil
	}
}

// take takes what is ready of a sequence. What goes to a topic that the flow reads itself does not wait
// for room there: the committer has to make it.
func (b *batch) take(s *sequence, reads map[string]bool) {
	n := 0
	for n < s.ready && n < s.most && !b.full() {
		for _, w := range s.slots[n].works {
			for _, o := range w.outs {
				o.NoWait = o.NoWait || reads[o.Topic]
			}
			b.send(w.outs)
			b.messages++
		}
		n++
	}
	p := part{seq: s, slots: s.slots[:n:n]}
	rs := make([]*adapters.Record, 0, n)
	for _, x := range p.slots {
		rs = append(rs, x.of)
	}
	b.parts = append(b.parts, p)
	b.finished = append(b.finished, adapters.Finished{Claim: s.Claim, Records: rs})
}

// each calls f with every work in the part, in order.
func (p *part) each(f func(w *work)) {
	for _, x := range p.slots {
		for _, w := range x.works {
			f(w)
		}
	}
}

func (b *batch) reset() {
	clear(b.parts)
	clear(b.finished)
	clear(b.outs)
	clear(b.loose)
	*b = batch{parts: b.parts[:0], finished: b.finished[:0], outs: b.outs[:0], loose: b.loose[:0]}
}

// commit has the batch committed, and says what became of it. It is given up when every claim in it is lost
// and all who feed have gone, and not before: a transaction that is given up may have been committed, and
// then nobody may do the same again.
func (c *committer) commit() {
	b := &c.batch
	defer b.reset()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(c.h.ctx))
	defer cancel(nil)
	var left atomic.Int64
	left.Store(int64(len(b.parts) + len(b.loose)))
	until := func(ctx context.Context) func() bool {
		return afterFunc(ctx, func() {
			if left.Add(-1) == 0 {
				cancel(context.Cause(ctx))
			}
		})
	}
	for i := range b.parts {
		defer until(b.parts[i].seq.Context())()
		b.parts[i].each(func(w *work) {
			if w.meter != nil {
				w.sentAt = time.Now()
			}
		})
	}
	for _, x := range b.loose {
		defer until(x.outs[0].Context)()
	}
	began := time.Now()
	err := guard(func() error { return c.to.Transact(ctx, b.finished, b.outs) })
	if err == nil {
		c.succeed(b)
		return
	}
	c.fail(b, err, ctx.Err() != nil, time.Since(began))
}

func afterFunc(ctx context.Context, f func()) func() bool {
	if ctx == nil || ctx.Done() == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(ctx, f)
}

func (c *committer) succeed(b *batch) {
	var ws []*work
	for i := range b.parts {
		b.parts[i].each(func(w *work) {
			w.answer = committed
			ws = append(ws, w)
		})
	}
	c.mu.Lock()
	for i := range b.parts {
		b.parts[i].seq.finish(len(b.parts[i].slots))
	}
	c.mu.Unlock()
	tellAll(ws)
	for _, x := range b.loose {
		x.succeed()
	}
}

// fail decides who waits, who goes on, and who dies. Given up, the transaction was nobody's any more.
// What is to blame waits as long as it took, in which nobody else was committed.
func (c *committer) fail(b *batch, err error, givenUp bool, took time.Duration) {
	refusals, lost, blame := b.judge()
	// Nothing that is to be published is to blame, and trying again helps nobody: the publisher itself cannot.
	fenced := errors.Is(err, adapters.ErrFenced) || channel.IsPermanent(err) && len(refusals) == 0 && !blame
	alone := errors.Is(err, adapters.ErrLost) && !lost && len(b.parts)+len(b.loose) > 1
	var paused []*part
	for i := range b.parts {
		p := &b.parts[i]
		switch {
		case fenced, givenUp, alone, p.refused, lost && errors.Is(err, adapters.ErrLost):
		case p.crowded: // another commit makes room
			p.pause = linger
			paused = append(paused, p)
		case p.blamed || len(refusals) == 0 && !blame:
			p.pause = publishPause(p.seq.fails + 1)
			if p.blamed {
				p.pause = max(p.pause, took)
			}
			p.failed(err)
			paused = append(paused, p)
		}
	}
	c.mu.Lock()
	for _, w := range refusals {
		w.answer = refused
		x, _ := w.rec.Native.(*slot)
		x.reopen(w)
	}
	for _, p := range paused {
		p.seq.pause(err, p)
	}
	for i := range b.parts {
		b.parts[i].seq.alone = alone
	}
	if fenced {
		c.broken = err
	}
	c.mu.Unlock()
	tellAll(refusals)
	for _, x := range b.loose {
		if blame || len(refusals) > 0 {
			x.fail(x.beside(err))
		} else {
			x.fail(err)
		}
	}
	if fenced {
		c.h.fail(c.h.flow.errorf("committing: %w", err))
	}
}

// judge finds the works that will never be published as they are, whether a claim is lost, and whether
// anything that was to be published is to blame for the rest.
func (b *batch) judge() (refusals []*work, lost, blame bool) {
	for i := range b.parts {
		p := &b.parts[i]
		lost = lost || p.seq.Context().Err() != nil
		p.each(func(w *work) {
			is := false
			for _, o := range w.outs {
				is = is || w.refuses(o)
				if o.Err != nil {
					p.crowded = (p.crowded || !p.blamed) && errors.Is(o.Err, adapters.ErrFull)
					p.blamed = true
				}
			}
			if is {
				p.refused, refusals = true, append(refusals, w)
			}
		})
		blame = blame || p.blamed
	}
	for _, x := range b.loose {
		for _, o := range x.outs {
			blame = blame || o.Err != nil
		}
	}
	return refusals, lost, blame
}

// refuses reports whether what the work sends there never will be published as it is.
func (w *work) refuses(o *adapters.Outgoing) bool {
	if o.Err == nil || !errors.Is(o.Err, adapters.ErrFull) {
		return o.Err != nil && channel.IsPermanent(o.Err)
	}
	for i := range w.leaving {
		if w.leaving[i].node == o.Owner {
			return w.leaving[i].cyclic
		}
	}
	return false
}

// failed notes a commit that is tried again, with the works it was of.
func (p *part) failed(err error) {
	var first *work
	topic := ""
	p.each(func(w *work) {
		w.pubFails++
		for _, o := range w.outs {
			if topic == "" && o.Err != nil {
				first, topic = w, o.Topic
			}
		}
		w.unsent(err)
		w.resent(p.pause)
		if first == nil {
			first = w
		}
	})
	if first == nil {
		return
	}
	first.warn(noticePublish, "transaction failed, trying again until it succeeds", err, tracing.LogTopic, tracing.Text(topic))
}

// unsent measures one try in vain at all that the work sends.
func (w *work) unsent(err error) {
	for _, o := range w.outs {
		if o.Err == nil {
			o.Err = err
		}
		if w.meter != nil {
			w.measureSend(o)
		}
	}
}

// tellAll tells the lanes of works, with one lock for those of a lane that follow each other.
func tellAll(ws []*work) {
	for len(ws) > 0 {
		l, n := ws[0].lane, 1
		for n < len(ws) && ws[n].lane == l {
			n++
		}
		l.tell(ws[:n]...)
		ws = ws[n:]
	}
}

// proceed goes on with a work whose sends are through, or of which the committer has said what became.
func (w *work) proceed() next {
	was := w.answer
	w.answer = unanswered
	switch was {
	case committed:
		return w.committed()
	case refused:
		return w.refused()
	case withdrawn:
		w.abandon(w.err)
		return next{what: giveUp}
	case unanswered:
	}
	return w.published()
}

// committed settles what is committed. There is no way back: a settle that fails is only told of.
func (w *work) committed() next {
	for _, o := range w.outs {
		if w.meter != nil {
			w.measureSend(o)
		}
		w.sent(o, nil)
		w.spare = append(w.spare, o)
	}
	clear(w.outs)
	w.outs = w.outs[:0]
	if err := w.runSettles(nil); err != nil {
		w.warn(noticeSettle, "settling failed after the commit, and is not tried again", err)
	}
	return next{what: finish}
}

// refused is published for what was in a transaction: nothing of it is.
func (w *work) refused() next {
	var permanent, letters error
	for _, o := range w.outs {
		switch {
		case !w.refuses(o):
		case isLetter(o) && channel.IsPermanent(o.Err): // the publisher takes less than the flow
			letters = errors.Join(letters, o.Err)
			letter.Shrink(o)
		default:
			permanent = errors.Join(permanent, o.Err)
		}
	}
	refused := errors.Join(permanent, letters)
	w.unsent(refused)
	if permanent != nil && w.buried { // what Failed sends
		return w.dieAlone(permanent)
	}
	if permanent != nil {
		w.failed, w.failedEnv, w.err = w.in, &w.env, channel.Permanent(permanent)
		w.abandon(w.err)
		return w.verdict()
	}
	w.pubFails++
	w.warn(noticePublish, "publish failed, trying again until it succeeds", refused)
	after := publishPause(w.pubFails)
	w.resent(after)
	return next{what: resend, after: after}
}
