package subscription

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/seats"
)

// A delivery is one claim on its way to the subscription's channel.
type delivery struct {
	Config
	finisher

	ctx    context.Context //nolint:containedctx // The subscription's.
	values context.Context //nolint:containedctx // The same, without an end.
	out    chan<- *message.Message

	ending chan struct{} // closed: offer no more
	forced chan struct{} // closed Drain later: let go
	once   sync.Once
	timer  *time.Timer // of Drain; nil: ownership was lost before

	lanes   []*queue // of the keys that finisher.seats gives them; nil until needed
	keyless *queue   // or all, where order wants one
	pool    *queue   // what has no order
	broken  *queue   // what is no message
	parked  []*adapters.Record
	workers sync.WaitGroup

	died, unpublished notice
}

// runLength is how many records are taken from a claim at once.
const runLength = 256

// buriers is how many dead letters of what is no message are published at once.
const buriers = 16

// Deliver offers the records of the claim on out, and finishes what is acknowledged, until the claim
// gives no more: because ctx ended, which is the context of Claim, because the Subscriber was closed, or
// because ownership was lost. It does not close out, which other claims may share. The configuration is
// one that Err has nothing against.
func (c *Config) Deliver(ctx context.Context, claim adapters.Claim, out chan<- *message.Message) {
	d := &delivery{
		Config: c.withDefaults(), finisher: finisher{claim: claim}, ctx: ctx, values: context.WithoutCancel(ctx), out: out,
		ending: make(chan struct{}), forced: make(chan struct{}),
	}
	if claim.Order() == adapters.KeyOrdered {
		d.lanes, d.seats = make([]*queue, d.Lanes), seats.New(d.Lanes)
	}
	unstop := context.AfterFunc(ctx, d.stop)
	unlose := context.AfterFunc(claim.Context(), d.lose)
	d.read()
	d.stop()
	for _, q := range append(d.lanes, d.keyless, d.pool, d.broken) {
		if q != nil {
			q.close()
		}
	}
	d.workers.Wait()
	unstop()
	unlose()
	if d.timer != nil {
		d.timer.Stop()
	}
	d.giveBack(adapters.Unseen(d.parked))
}

// stop has nothing more offered, and starts the time there is for the rest.
func (d *delivery) stop() {
	d.once.Do(func() {
		if d.claim.Context().Err() == nil {
			d.timer = time.AfterFunc(d.Drain, func() { close(d.forced) })
		}
		close(d.ending)
	})
}

// lose has everything end.
func (d *delivery) lose() { d.once.Do(func() { close(d.ending) }) }

// isEnding is true at once, though the functions above may be still to come.
func (d *delivery) isEnding() bool {
	if d.ctx.Err() != nil || d.claim.Context().Err() != nil {
		return true
	}
	select {
	case <-d.ending:
		return true
	default:
		return false
	}
}

// read deals runs of records to the queues. What comes when all ends is dealt too: each lane gives back
// what it has in order, after what it has in flight.
func (d *delivery) read() {
	buf := make([]*adapters.Record, 0, runLength)
	for {
		run, err := d.claim.Next(buf[:0])
		if err != nil {
			d.stop()
		}
		var q *queue
		from := 0
		for i := range run {
			if to := d.place(run[i]); to != q {
				d.put(q, run[from:i])
				q, from = to, i
			}
		}
		d.put(q, run[from:])
		clear(run)
		if err != nil || d.isEnding() {
			return
		}
	}
}

// put adds records to a queue, or parks them if it is nil.
func (d *delivery) put(q *queue, rs []*adapters.Record) {
	switch {
	case len(rs) == 0:
	case q == nil:
		d.park(rs)
	default:
		q.push(rs)
	}
}

// place gives the queue that a record belongs to, nil if it is to be parked. It is asked once for each.
func (d *delivery) place(r *adapters.Record) *queue {
	switch {
	case r.Err != nil:
		if d.DeadLetter == "" {
			return nil
		}
		return d.queue(&d.broken, buriers, true)
	case d.isSeated(r):
		return d.queue(&d.lanes[d.seats.Take(r.Key)], 1, false)
	case d.lanes != nil && d.SpreadKeyless, d.claim.Order() == adapters.Unordered:
		return d.queue(&d.pool, d.Lanes, true)
	}
	return d.queue(&d.keyless, 1, false)
}

func (d *delivery) queue(q **queue, limit int, shared bool) *queue {
	if *q == nil {
		*q = newQueue(limit, shared, d.work)
	}
	return *q
}

// work starts a worker.
func (d *delivery) work(q *queue) {
	w := &worker{delivery: d, q: q}
	d.workers.Go(w.run)
}

// park keeps what is no message, unfinished, until the claim ends.
func (d *delivery) park(rs []*adapters.Record) {
	for _, r := range rs {
		d.Log.Error("record is no message and there is no dead letter: it is parked, and nothing behind it is committed; set DeadLetter and MaxAttempts",
			d.about(r, slog.String("error", channel.Reason(r.Err)))...)
		if told := d.Events.Parked; told != nil {
			told(d.claim, r)
		}
	}
	d.parked = append(d.parked, rs...)
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
