package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// ExactlyOnce has what messages caused, dead letters included, and their acknowledgement be one
// transaction of the broker: whoever reads committed messages sees the outcome of every message once,
// whatever crashes. A transaction is, of each partition, the longest prefix of what was taken that is
// finished; a step sees nothing of it. It stands for the whole flow.
//
// A message that waits for a retry ends the prefix of its partition. What comes behind it is worked on,
// not again later, and committed after it; a full window of such messages holds the partition up. What
// fails for good is in the dead letter, in the same transaction. A transaction that fails is tried again
// until it succeeds; a message that the broker refuses for good (channel.ErrTooLarge) goes to the dead
// letter, and the others go on without it. If the broker says that another publisher has taken over
// (adapters.ErrFenced), the flow ends with that error.
//
// Settles run after the commit. One that fails is logged and not repeated: there is nothing left to take
// back. Into and Handle.PutBack send what a message caused in one transaction, which acknowledges nothing: it
// may go out again, under the same ids, when the broker's answer was lost or the caller comes again.
//
// New refuses what no transaction covers, by name: blocks and interceptors that are not channel.Pure,
// clocks, sources, inlets for every instance, best-effort outlets. A Result that streams is an error, as
// it is everywhere. Start ends what a killed run of the same identity has left under way, and refuses a publisher
// that is no adapters.Transactor and a subscriber that hands over no adapters.Claims, or whose settings rule
// transactions out (adapters.Transactable). AddTo, Handler and HandlerFunc always refuse: a router acknowledges
// each message by itself.
func ExactlyOnce() Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "ExactlyOnce stands for the whole flow: give it to New")
			return
		}
		d.flow.exactlyOnce = true
	})
}

// ErrNoTransaction is why something cannot be part of a flow that is ExactlyOnce.
var ErrNoTransaction = errors.New("no transaction covers it, as flow.ExactlyOnce asks")

// AtLeastOnce takes ExactlyOnce back: for package leattest, whose World has no transactions, and which then
// tests all the rest. Call it before the flow runs.
func (f *Flow) AtLeastOnce() { f.exactlyOnce = false }

// checkTransaction notes what a transaction cannot cover of a block, or of an interceptor around it.
func (s *step) checkTransaction(sh *channel.Shape, block bool) {
	what, fix := "interceptor "+sh.Pattern, "take it away, or take the step to a flow of its own without ExactlyOnce"
	if block {
		what, fix = "block "+sh.Pattern, "put the step in a flow of its own without ExactlyOnce, which reads the topic %q"
		fix = fmt.Sprintf(fix, s.in)
	}
	wrong := func(format string, args ...any) {
		s.flow.wrong(s, "its "+what+" "+format+": %w: %s", append(args, ErrNoTransaction, fix)...)
	}
	switch {
	case s.source != nil && block:
		fix = "publish to the topic instead, or put the source in a flow of its own without ExactlyOnce"
		wrong("is a source, whose messages nobody acknowledges")
	case sh.Effect == channel.External:
		wrong("keeps its state in a store")
	case sh.Effect != channel.Pure:
		wrong("acts on the world")
	}
	for i := range sh.Inlets {
		switch in := &sh.Inlets[i]; {
		case in.Clock != nil:
			wrong("has the clock %s", in.Name)
		case in.Broadcast:
			wrong("has the inlet %s, which every instance reads for itself", in.Name)
		}
	}
	for i := range sh.Outlets {
		if o := &sh.Outlets[i]; o.BestEffort {
			fix = "take BestEffort away"
			wrong("has the best-effort outlet to topic %s, and nothing is lost alone in a transaction", o.Topic)
		}
	}
}

var errRouted = errors.New("its parts say ExactlyOnce, and a router acknowledges each message by itself: use Run or Start, or take ExactlyOnce out")

// transactor gives what the flow commits by, or says by name what pub or a subscriber lacks.
func (f *Flow) transactor(pub message.Publisher, subs []*subscription) (adapters.Transactor, error) {
	var errs []error
	to, ok := adapters.As[adapters.Transactor](tracing.Untraced(pub))
	if !ok {
		errs = append(errs, f.errorf("publisher %T: %w: it is no adapters.Transactor: use an adapter that has transactions, or take ExactlyOnce out", pub, ErrNoTransaction))
	}
	for _, s := range subs {
		if _, ok := adapters.As[adapters.Claims](s.sub); !ok {
			errs = append(errs, f.errorf("subscriber %T of group %s: %w: it hands over no adapters.Claims: use an adapter that has them, or take ExactlyOnce out", s.sub, s.group, ErrNoTransaction))
		}
		if x, ok := adapters.As[adapters.Transactable](s.sub); ok {
			if err := x.Transactable(); err != nil {
				errs = append(errs, f.errorf("subscriber %T of group %s: %w: %w, or take ExactlyOnce out", s.sub, s.group, ErrNoTransaction, err))
			}
		}
	}
	return to, errors.Join(errs...)
}

// prepare ends what a run that was killed has left of a transaction: until then nobody gets what it had claimed.
func (f *Flow) prepare(ctx context.Context, to adapters.Transactor, subs []*subscription) error {
	all := make([]message.Subscriber, 0, len(subs))
	for _, s := range subs {
		all = append(all, s.sub)
	}
	if err := guard(func() error { return to.Recover(ctx, all) }); err != nil {
		return f.errorf("preparing transactions: %w", err)
	}
	return nil
}
