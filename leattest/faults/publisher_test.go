package faults_test

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
)

// A publisher publishes in batches, with a result for each message. Its faults are those of the call
// "publish <topic>".
type publisher struct {
	real *memory.Publisher
	p    *process

	strict bool // nothing may be published again that is known to be published
	coarse bool // no result for each: if one fails, all do
	lies   bool // it says of what failed that it was published
	late   bool // it publishes from another goroutine

	mu    sync.Mutex
	known map[string]bool // published, and its process was told so
}

var (
	_ message.Publisher       = (*publisher)(nil)
	_ adapters.BatchPublisher = (*publisher)(nil)
)

// Close does nothing: the router closes a publisher that is not its own.
func (x *publisher) Close() error { return nil }

// Publish publishes one by one and stops at the first that fails.
func (x *publisher) Publish(topic string, ms ...*message.Message) error {
	for _, m := range ms {
		x.notAgain(topic, m.UUID)
		err := do(x.p, "publish "+topic, m.UUID, func() error { return x.real.Publish(topic, m) })
		if err != nil && (!x.lies || errors.Is(err, errGone)) {
			return err
		}
		x.told(topic, m.UUID)
	}
	return nil
}

// Send publishes some and fails to publish others.
func (x *publisher) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	if !x.late {
		x.send(outs, done)
		return
	}
	outs = slices.Clone(outs)
	go func() {
		time.Sleep(time.Duration(x.p.w.dice.roll(5, "late", outs[0].ID)) * time.Millisecond)
		x.send(outs, done)
	}()
}

func (x *publisher) send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	var failed, sent []*adapters.Outgoing
	for _, o := range outs {
		if slices.ContainsFunc(failed, func(f *adapters.Outgoing) bool { return f.Topic == o.Topic && f.Key == o.Key }) {
			o.Err = errDown
			failed = append(failed, o)
			continue
		}
		x.notAgain(o.Topic, o.ID)
		o.Err = do(x.p, "publish "+o.Topic, o.ID, func() (err error) {
			x.real.Send([]*adapters.Outgoing{o}, func([]*adapters.Outgoing) { err = o.Err }) // at once: it is not full
			return err
		})
		if o.Err == nil {
			sent = append(sent, o)
			x.told(o.Topic, o.ID)
		} else {
			failed = append(failed, o)
		}
	}
	if len(failed) > 0 && len(sent) > 0 {
		x.p.w.ledger.count("batches that failed part way")
		if x.coarse {
			for _, o := range sent {
				o.Err = errDown
			}
		}
	}
	if x.lies {
		for _, o := range failed {
			o.Err = nil
		}
	}
	// Twice, as a client does that learns of errors first. What was completed is not touched again.
	for _, some := range [][]*adapters.Outgoing{failed, sent} {
		if len(some) > 0 {
			done(some)
		}
	}
}

func (x *publisher) told(topic, id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.known[topic+"/"+id] = true
}

// notAgain notes what is published again although it was known to be published.
func (x *publisher) notAgain(topic, id string) {
	x.mu.Lock()
	known := x.known[topic+"/"+id]
	x.mu.Unlock()
	if known && x.strict {
		x.p.w.ledger.wrong(resent, "%s to %s", id, topic)
	}
}
