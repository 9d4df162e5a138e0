package leattest

import (
	"context"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// An attempt is one of a flow's attempts, of a message or, without one, of a clock's key.
type attempt struct {
	*flow.Attempt

	of  *pulled
	due time.Time
}

// A pulled is a message that one process works on.
type pulled struct {
	group *group
	l     *letter
	left  int // attempts that are not over
	back  bool
}

const tick = time.Second // the least that passes when time does

// groupOf is the consumer group of flows in a Stepped simulation, which has one.
const groupOf = "stepped"

func (r *run) startStepped(x *process) {
	x.stepper = x.flow.Stepper(x)
	x.ctx, x.cancel = context.WithCancelCause(x.Context())
	for _, topic := range reads(x.flow) {
		x.groups = append(x.groups, r.world.join(topic, groupOf))
	}
}

// act has a process do one thing. Half of the times it is to take a message.
func (r *run) act(x *process) {
	switch r.rnd.IntN(4) {
	case 0:
		r.passTime(tick)
	case 1:
		r.goOn(x)
		r.fire(x)
	default:
		r.pull(x)
	}
}

// passTime lets time pass, and the timers that others have set run their course.
func (r *run) passTime(d time.Duration) {
	pass(r.t.Context(), d)
	synctest.Wait()
}

// pull takes a message from one of the topics. It reports whether there was one.
func (r *run) pull(x *process) bool {
	if len(x.groups) == 0 {
		return false
	}
	g := x.groups[r.rnd.IntN(len(x.groups))]
	l, _ := r.world.take(g, r.rnd.IntN)
	if l == nil {
		return false
	}
	x.note("takes " + g.topic + " " + l.m.UUID)
	m := l.m.Copy()
	m.SetContext(x.ctx)
	as, err := x.stepper.Arrive(g.topic, m)
	if err != nil {
		r.t.Fatalf("seed %d: topic %s: %v", r.Seed, g.topic, err)
	}
	p := &pulled{group: g, l: l, left: len(as)}
	for _, a := range as {
		r.step(x, &attempt{Attempt: a, of: p})
	}
	return true
}

// fire hands over what is due, unless something that was due before is not through.
func (r *run) fire(x *process) {
	for _, a := range x.held {
		if a.of == nil {
			return
		}
	}
	if x.Dead() {
		return
	}
	as, err := x.stepper.Due(x.ctx, time.Now())
	if err != nil {
		x.noted("asks what is due", err)
		return
	}
	for _, a := range as {
		r.step(x, &attempt{Attempt: a})
	}
}

// goOn goes on with one of the attempts whose pause is over.
func (r *run) goOn(x *process) {
	var ready []int
	for i, a := range x.held {
		if !a.due.After(time.Now()) {
			ready = append(ready, i)
		}
	}
	if len(ready) == 0 {
		return
	}
	at := ready[r.rnd.IntN(len(ready))]
	a := x.held[at]
	x.held = append(x.held[:at], x.held[at+1:]...)
	r.step(x, a)
}

// step takes an attempt on.
func (r *run) step(x *process, a *attempt) {
	fate, after := a.Step()
	switch {
	case fate == flow.Waits:
		a.due = time.Now().Add(after)
		x.held = append(x.held, a)
		x.note("waits " + after.String() + a.String())
	case a.of == nil:
		x.note("is through with" + a.String())
	default:
		a.of.left--
		a.of.back = a.of.back || fate == flow.GivenBack || x.Dead()
		if a.of.left > 0 {
			return
		}
		if a.of.back {
			x.note("gives back" + a.String())
		} else {
			x.note("acknowledges" + a.String())
		}
		r.world.finish(a.of.group, a.of.l, a.of.back)
	}
}

// String names what is attempted.
func (a *attempt) String() string {
	if a.of == nil {
		return " a clock's key"
	}
	return " " + a.of.group.topic + " " + a.of.l.m.UUID
}

// abandon gives back what a process holds: each attempt runs once more, finds that it is to stop, or its
// handles dead, and is over.
func (r *run) abandon(x *process) {
	if x.cancel != nil {
		x.cancel(channel.ErrStopped)
	}
	for len(x.held) > 0 {
		held := x.held
		x.held = nil
		for _, a := range held {
			r.step(x, a)
		}
	}
}

// calm is the healing: the process does all there is to do, then time passes, a minute at once when
// nothing else is to be done.
func (r *run) calm(x *process) {
	const idle = time.Minute
	over := time.Now().Add(r.Heal)
	for time.Now().Before(over) {
		busy := len(x.held) > 0
		for range x.held {
			r.goOn(x)
		}
		r.fire(x)
		for range 4 * len(x.groups) {
			busy = r.pull(x) || busy
		}
		if busy {
			r.passTime(tick)
		} else {
			r.passTime(idle)
		}
	}
}
