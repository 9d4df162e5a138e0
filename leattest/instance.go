package leattest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ErrKilled is what every handle of an Instance gives once it is dead.
var ErrKilled = errors.New("instance was killed")

// An Instance is one process as the World sees it: its handles, and nothing else. It is a Watermill
// Publisher and Subscriber, it wraps stores, and Do makes anything else an effect of it. Killed, it has
// no effect any more: every handle gives ErrKilled, its subscriptions end, what it had read is read by
// others, and whatever its goroutines still do reaches nobody. That is all that a crash is.
//
// Its fuse says which effect is the last: a message published, a call of a store, a Do. That one happens
// or does not; in both cases nobody hears of it. To acknowledge is no effect of its own: dying before it
// is dying after what came before.
//
// It is safe for concurrent use.
type Instance struct {
	subscriber

	// Fault, if set before the first use, is asked before each effect ("publish orders 17"). An error:
	// the effect fails with it and does not happen. It must be safe for concurrent use.
	Fault func(what string) error

	world *World
	name  string
	ctx   context.Context //nolint:containedctx // Its life.
	die   context.CancelCauseFunc

	mu    sync.Mutex
	fuse  int // effects left; 0: any number
	after bool
	dead  bool
}

// Instance makes a process that dies at its n-th effect, which happens if after is true. 0: it lives
// until Kill.
func (w *World) Instance(n int, after bool) *Instance {
	w.mu.Lock()
	i := &Instance{world: w, name: "#" + strconv.Itoa(w.made), fuse: n, after: after}
	w.made++
	w.mu.Unlock()
	i.ctx, i.die = context.WithCancelCause(context.Background())
	i.instance = i
	return i
}

// Do is one effect on the world, told apart from others by what it is called. It gives f's error, or
// ErrKilled if the instance is dead or this effect is its last; f is then called or not, as Instance was
// told.
func (i *Instance) Do(what string, f func() error) error {
	i.mu.Lock()
	if i.dead {
		i.mu.Unlock()
		return ErrKilled
	}
	last := false
	if i.fuse > 0 {
		i.fuse--
		last = i.fuse == 0
	}
	i.dead = last
	i.mu.Unlock()
	if !last {
		if i.Fault != nil {
			if err := i.Fault(what); err != nil {
				i.noted(what, err)
				return err
			}
		}
		err := f()
		i.noted(what, err)
		return err
	}
	if i.after {
		err := f()
		i.noted("dies of "+what+", after it", err)
	} else {
		i.note("dies of " + what + ", before it")
	}
	i.die(ErrKilled)
	return ErrKilled
}

// Kill ends the instance now.
func (i *Instance) Kill() {
	i.mu.Lock()
	dead := i.dead
	i.dead = true
	i.mu.Unlock()
	if !dead {
		i.note("is killed")
	}
	i.die(ErrKilled)
}

// Dead reports whether the instance has died.
func (i *Instance) Dead() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.dead
}

// Context ends when the instance dies, with ErrKilled as its cause.
func (i *Instance) Context() context.Context { return i.ctx }

// Publish publishes the messages, each of them an effect. What came before one that fails is published.
func (i *Instance) Publish(topic string, ms ...*message.Message) error {
	for _, m := range ms {
		if err := i.Do("publish "+topic+" "+m.UUID, func() error {
			i.world.PutMessage(topic, m)
			return nil
		}); err != nil {
			return fmt.Errorf("publishing %s to topic %s: %w", m.UUID, topic, err)
		}
	}
	return nil
}

// note writes the history, if somebody does.
func (i *Instance) note(what string) {
	if t := i.world.trace; t != nil {
		t(i.name, what)
	}
}

// noted is note with what became of it.
func (i *Instance) noted(what string, err error) {
	if err != nil {
		what += ": " + err.Error()
	}
	i.note(what)
}
