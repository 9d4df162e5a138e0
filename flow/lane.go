package flow

import (
	"container/heap"
	"context"
	"math"
	"sync"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/seats"
)

// A lane is one worker: a goroutine with the messages of its share of the keys. A message that waits,
// for a retry or for its publish, is a state here and not a stack frame: it holds no worker, and of the
// other messages only those of its key.
type lane struct {
	h      *Handle
	claim  adapters.Claim // nil: a clock's
	ins    []*inlet
	order  adapters.Order
	dealer *dealer                      // nil: there is one lane, or it is a clock's
	seats  *seats.Lanes                 // of the claim, if it has several lanes and keeps the order of keys
	ended  func(key string, clean bool) // a clock's

	mu      sync.Mutex
	inbox   []*adapters.Record
	over    []*work   // their sends are through, or the committer has answered
	down    []*flight // their sends are through
	closing bool
	patient bool // waits for what waits before it ends
	wake    chan struct{}

	// The rest belongs to the lane's goroutine.
	seq      uint64 // of the latest work
	flight   int
	waiting  waitingList
	keys     map[laneKey]held           // those that works hold
	refused  map[laneKey]bool           // keys of which a message was given back: what came with it goes back too
	computed []*work                    // to be handed to the committer
	sends    []*adapters.Outgoing       // to be sent
	told     func([]*adapters.Outgoing) // l.sent
	urgent   bool                       // somebody waits for what is sent
	fleet    []flight                   // those that are not used yet
	spare    struct {                   // to use again
		over []*work
		down []*flight
	}
	finished []*adapters.Record
	returned []*adapters.Record
	left     []string // keys of what is through
}

// A shared is a message that several steps of a topic see: acknowledged after all, given back if one
// gives it back.
type shared struct {
	left int
	back bool
	seen bool
}

func (h *Handle) lane(c adapters.Claim, ins []*inlet, order adapters.Order) *lane {
	l := &lane{h: h, claim: c, ins: ins, order: order, wake: make(chan struct{}, 1), keys: map[laneKey]held{}, refused: map[laneKey]bool{}}
	l.told = l.sent
	return l
}

// push hands records over. It never waits: the claim's window bounds what is in flight.
func (l *lane) push(rs ...*adapters.Record) {
	l.mu.Lock()
	l.inbox = append(l.inbox, rs...)
	l.mu.Unlock()
	nudge(l.wake)
}

// tell says that the committer has answered.
func (l *lane) tell(ws ...*work) {
	l.mu.Lock()
	l.over = append(l.over, ws...)
	l.mu.Unlock()
	nudge(l.wake)
}

// sent notes what of what the lane has sent is through. The publisher calls it.
func (l *lane) sent(outs []*adapters.Outgoing) {
	l.mu.Lock()
	for _, o := range outs {
		switch x := o.Owner.(type) {
		case *flight:
			if x.left--; x.left == 0 {
				l.down = append(l.down, x)
			}
		case *node:
			if x.of.sending.left.Add(-1) == 0 {
				l.over = append(l.over, x.of)
			}
		}
	}
	l.mu.Unlock()
	nudge(l.wake)
}

// close has the lane end when nothing is in flight. Patient, it waits for retries; else it gives back
// what waits.
func (l *lane) close(patient bool) {
	l.mu.Lock()
	l.closing, l.patient = true, l.patient || patient
	l.mu.Unlock()
	nudge(l.wake)
}

func (l *lane) hurry() {
	l.mu.Lock()
	l.patient = false
	l.mu.Unlock()
	nudge(l.wake)
}

// flushAt is how many messages are sent, acknowledged or committed at once at the latest.
const flushAt = 64

// run is the lane's goroutine. It ends when the lane is closed, and at once when ctx does.
func (l *lane) run(ctx context.Context) {
	lost := ctx.Done()
	defer context.AfterFunc(ctx, func() { nudge(l.wake) })()
	var inbox []*adapters.Record
	timer := time.AfterFunc(math.MaxInt64, func() { nudge(l.wake) })
	defer timer.Stop()
	for {
		l.mu.Lock()
		inbox, l.inbox = l.inbox, inbox[:0]
		closing, impatient := l.closing, l.closing && !l.patient
		l.mu.Unlock()
		select {
		case <-lost:
			closing, impatient, lost = true, true, nil
			l.close(false)
			l.hurry()
		default:
		}
		went := l.proceed()
		l.takeAll(inbox)
		clear(l.refused)
		l.due()
		if impatient {
			l.giveAllBack()
		}
		l.flush()
		if closing && l.flight == 0 && len(inbox) == 0 {
			return
		}
		if len(inbox) > 0 || went {
			continue
		}
		l.sleep(timer)
	}
}

// takeAll begins with records, and tells the dealer what that took.
func (l *lane) takeAll(rs []*adapters.Record) {
	if len(rs) == 0 {
		return
	}
	began := time.Now()
	for _, r := range rs {
		l.take(r)
		for l.urgent || len(l.sends) >= l.h.together || max(len(l.finished), len(l.computed)) >= flushAt {
			l.flush()
			l.proceed()
		}
		if len(l.waiting) > 0 {
			l.due()
		}
	}
	if l.dealer != nil {
		l.dealer.through(len(rs), time.Since(began))
	}
	clear(rs)
}

// proceed goes on with the works and flights whose sends are through, and reports whether there were any.
func (l *lane) proceed() bool {
	l.mu.Lock()
	over, down := l.over, l.down
	l.over, l.spare.over = l.spare.over, nil
	l.down, l.spare.down = l.spare.down, nil
	l.mu.Unlock()
	for _, x := range down {
		l.land(x)
	}
	for _, w := range over {
		w.away = false
		l.advance(w, w.proceed())
	}
	clear(over)
	clear(down)
	l.spare.over, l.spare.down = over[:0], down[:0]
	return len(over)+len(down) > 0
}

// sleep waits for the next event or the next retry.
func (l *lane) sleep(t *time.Timer) {
	if len(l.waiting) > 0 {
		d := time.Until(l.waiting[0].due)
		if d <= 0 {
			return
		}
		t.Reset(d)
		defer t.Stop()
	}
	<-l.wake
}

// take begins with a record: a work for each step that sees it.
func (l *lane) take(r *adapters.Record) {
	var group *shared
	if len(l.ins) > 1 {
		group = &shared{left: len(l.ins)}
	}
	for _, in := range l.ins {
		if r.Redelivered() {
			in.step.counts.again.Add(1)
		}
		w := l.work(in, r, group)
		w.arrived()
		l.flight++
		l.seq++
		w.seq = l.seq
		l.begin(w)
	}
}

// work makes the work of a record at an inlet.
func (l *lane) work(in *inlet, r *adapters.Record, group *shared) *work {
	f := l.h.flow
	ctx := r.Context
	if ctx == nil {
		ctx = l.h.ctx
		if l.claim != nil {
			ctx = l.claim.Context()
		}
	}
	native := r.Native
	if s, ok := native.(*slot); ok {
		if native = s.of.Native; r.Context != nil { // a claim that is lost is lost as a whole
			ctx = context.WithoutCancel(ctx)
		}
	}
	headers := r.Headers
	if headers == nil || r.Err != nil && f.limits.Check(nil, headers) != nil { // to copy them would cost what they cost
		headers = channel.Fields(nil)
	}
	a := channel.Arrival{
		Context: ctx, Topic: in.topic, Scope: in.step.scope, ID: r.ID, Key: r.Key, Headers: headers,
		Codecs: f.codecs, Payload: r.Payload, Tick: in.clock != nil, Redelivered: r.Redelivered(),
	}
	w := l.h.tel.workOf(in, &a)
	w.lane, w.rec, w.shared, w.native, w.bare = l, r, group, native, r.Err != nil
	return w
}

// begin tries a work unless one before it holds its key.
func (l *lane) begin(w *work) {
	if len(l.refused) > 0 {
		if k, ok := l.keyOf(w); ok && l.refused[k] {
			l.over1(w, true)
			return
		}
	}
	if len(l.keys) > 0 {
		if k, ok := l.keyOf(w); ok {
			if h, held := l.keys[k]; held {
				h.behind = append(h.behind, w)
				l.keys[k] = h
				return
			}
		}
	}
	l.advance(w, w.try())
}

// advance does what is next until the work waits or is over.
func (l *lane) advance(w *work, n next) {
	for {
		switch n.what {
		case publish:
			if l.h.tx != nil {
				l.compute(w)
				return
			}
			if len(w.outs) == 0 {
				n = w.published()
				continue
			}
			if x, ok := l.takesOff(w); ok {
				l.sends = append(l.sends, x.outs...)
				return
			}
			w.sends(len(w.outs))
			w.away = true
			l.sends = append(l.sends, w.outs...)
			if !l.overlaps(w) {
				l.hold(w)
				l.urgent = true
			}
			return
		case retry, resend:
			w.due, w.resend = time.Now().Add(n.after), n.what == resend
			heap.Push(&l.waiting, w)
			l.hold(w)
			return
		case finish:
			l.over1(w, false)
			return
		case giveUp:
			l.over1(w, true)
			return
		}
	}
}

// compute has a work wait for its commit. Its key is free: what is sent keeps the order of the records.
func (l *lane) compute(w *work) {
	l.computed = append(l.computed, w)
	if !w.holds {
		return
	}
	w.holds = false
	if k, ok := l.keyOf(w); ok {
		l.letGo(w, k, false)
	}
}

// over1 ends a work, finished or given back, and lets go of its key.
func (l *lane) over1(w *work, back bool) {
	l.flight--
	k, keyed := l.keyOf(w)
	held, rec, group := w.holds, w.rec, w.shared
	seen := w.tries > 0 || w.err != nil
	clean := !back && !w.buried && w.res.Outcome() != channel.Dropped
	if back {
		w.spoil()
		if keyed {
			l.refused[k] = true
		}
		w.back()
	} else {
		w.end()
	}
	if group != nil {
		group.left--
		group.back = group.back || back
		group.seen = group.seen || seen
		back, seen = group.back, group.seen
	}
	switch {
	case l.claim == nil:
		l.ended(rec.Key, clean)
	case group != nil && group.left > 0:
	case back:
		rec.Unseen = !seen
		l.back(1)
		l.returned = append(l.returned, rec)
	default:
		l.finished = append(l.finished, rec)
		l.leave(rec)
	}
	if held {
		l.letGo(w, k, back)
	}
}

// back counts messages that come again.
func (l *lane) back(n int) {
	if !l.ins[0].broadcast { // that is read again anyway
		l.h.back.Add(int64(n))
	}
}

// leave frees the place of a message that is through, with the next flush.
func (l *lane) leave(r *adapters.Record) {
	if l.seats != nil {
		l.left = append(l.left, r.Key)
	}
}

// due goes on with the works whose pause is over.
func (l *lane) due() {
	if len(l.waiting) == 0 {
		return
	}
	t := time.Now()
	for len(l.waiting) > 0 && !l.waiting[0].due.After(t) {
		w, _ := heap.Pop(&l.waiting).(*work)
		if k, ok := l.keyOf(w); ok {
			w.rested = true
			l.follow(k)
		} else {
			l.resume(w)
		}
	}
}

// giveAllBack gives back what waits; what is being published is waited for.
func (l *lane) giveAllBack() {
	for len(l.waiting) > 0 {
		w, _ := heap.Pop(&l.waiting).(*work)
		l.giveBack(w)
	}
	for k := range l.keys {
		for at := 0; at < len(l.keys[k].by); {
			if w := l.keys[k].by[at]; w.rested {
				w.rested = false
				l.giveBack(w)
				at = 0
			} else {
				at++
			}
		}
	}
}

// flush sends what is to leave, acknowledges what is finished and returns what is given back.
func (l *lane) flush() {
	if l.urgent = false; len(l.sends) > 0 {
		l.h.pub.Send(l.sends, l.told)
		clear(l.sends)
		l.sends = l.sends[:0]
	}
	if len(l.computed) > 0 {
		l.h.tx.computed(l.computed)
		clear(l.computed)
		l.computed = l.computed[:0]
	}
	if len(l.finished) > 0 {
		l.claim.Finish(l.finished)
		if l.claim.Context().Err() != nil { // it was late
			l.back(len(l.finished))
		}
		clear(l.finished)
		l.finished = l.finished[:0]
	}
	if len(l.returned) > 0 {
		l.claim.Return(l.returned)
		for _, r := range l.returned { // not before: what comes after it stays behind it
			l.leave(r)
		}
		clear(l.returned)
		l.returned = l.returned[:0]
	}
	if len(l.left) > 0 {
		l.seats.Leave(l.left...)
		clear(l.left)
		l.left = l.left[:0]
	}
}

// waitingList is a heap of works by due.
type waitingList []*work

func (q waitingList) Len() int           { return len(q) }
func (q waitingList) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q waitingList) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *waitingList) Push(x any)        { *q = append(*q, x.(*work)) } //nolint:forcetypeassert // heap's.
func (q *waitingList) Pop() any {
	old := *q
	n := len(old) - 1
	w := old[n]
	old[n] = nil
	*q = old[:n]
	return w
}
