package subscription

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/seats"
)

// A delivery is one claim on its way to the subscription's channel.
type delivery struct {
	Config

	claim  adapters.Claim
	given  context.Context //nolint:containedctx // The subscription's.
	values context.Context //nolint:containedctx // The same, without an end.
	out    chan<- *message.Message

	ending chan struct{} // closed: offer no more
	forced chan struct{} // closed Drain later: let go
	once   sync.Once
	held   atomic.Bool // nothing is offered for now
	timer  *time.Timer // of Drain; nil: ownership was lost before

	mail
	loop loop

	died, unpublished notice
}

// buriers is how many dead letters of what is no message are published at once.
const buriers = 16

// Deliver offers the records of the claim on out, and finishes what is acknowledged, until the claim
// gives no more: because ctx ended, which is the context of Claim, because the Subscriber was closed, or
// because ownership was lost. It does not close out, which other claims may share. The configuration is
// one that Err has nothing against.
func (c *Config) Deliver(ctx context.Context, claim adapters.Claim, out chan<- *message.Message) {
	d := &delivery{
		Config: c.withDefaults(), claim: claim, given: ctx, values: context.WithoutCancel(ctx), out: out,
		ending: make(chan struct{}), forced: make(chan struct{}),
		mail: newMail(),
	}
	if claim.Order() == adapters.KeyOrdered {
		d.loop.lanes, d.loop.seats = make([]*line, d.Lanes), seats.New(d.Lanes)
	}
	if d.Gate != nil {
		d.Gate.enter(d)
		defer d.Gate.leave(d)
	}
	unstop := context.AfterFunc(ctx, d.stop)
	unlose := context.AfterFunc(claim.Context(), d.lose)
	var reading sync.WaitGroup
	reading.Go(d.read)
	d.run()
	reading.Wait()
	d.stop() // which may be under way
	unstop()
	unlose()
	if d.timer != nil {
		d.timer.Stop()
	}
}

// stop has nothing more offered, and starts the time there is for the rest.
func (d *delivery) stop() {
	d.once.Do(func() {
		if d.claim.Context().Err() == nil {
			d.timer = time.AfterFunc(d.Drain, func() { close(d.forced) })
		}
		close(d.ending)
	})
	d.nudge()
}

// lose has everything end.
func (d *delivery) lose() {
	d.once.Do(func() { close(d.ending) })
	d.nudge()
}

// isEnding is true at once, though the functions above may be still to come.
func (d *delivery) isEnding() bool {
	if d.given.Err() != nil || d.claim.Context().Err() != nil {
		return true
	}
	select {
	case <-d.ending:
		return true
	default:
		return false
	}
}

// read hands the claim's records to the loop: the claim's window bounds how many wait there. What comes when all ends is
// handed over too, to be given back in order, after what is in flight.
func (d *delivery) read() {
	run := make([]*adapters.Record, 0, runLength)
	for last := false; !last; {
		var err error
		run, err = d.claim.Next(run[:0])
		if err != nil {
			d.stop()
		}
		last = err != nil || d.isEnding()
		d.hand(run, last)
		clear(run)
	}
}

// giveBack returns records while they are still the claim's.
func (d *delivery) giveBack(rs []*adapters.Record) {
	if len(rs) > 0 && d.claim.Context().Err() == nil {
		d.claim.Return(rs)
	}
}

// about is what logs say of a record.
func (d *delivery) about(r *adapters.Record, args ...any) []any {
	args = append(args, slog.String("topic", d.claim.Topic()), slog.String("message_id", clip(r.ID)))
	if s, ok := r.Native.(fmt.Stringer); ok {
		args = append(args, slog.String("origin", s.String()))
	}
	return args
}

// clip bounds what comes from outside and goes to a log.
func clip(s string) string { return s[:min(len(s), 128)] }

// errLost is why contexts end when Drain is over.
func (d *delivery) errLost() error {
	return fmt.Errorf("topic %q: not acknowledged %v after reading ended, it is delivered again: %w",
		d.claim.Topic(), d.Drain, channel.ErrStopped)
}
