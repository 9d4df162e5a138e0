package channel

import (
	"context"
	"reflect"
	"time"
)

// An Inlet is one more way into a block besides its step's own topic: another topic, or time.
//
// With Broadcast the topic is read without a group: every instance of the flow gets every message of it,
// those from before it began first, and takes nothing else until it has finished these. So what comes in
// is state of the process (rules, settings, a table), made anew at each start. What fails goes to the dead
// letter once in each instance and again at each start, and what is sent goes out as often, both under the
// same ids each time. It needs a subscriber that is an adapters.Follower.
type Inlet struct {
	Name       string
	Topic      string // "" for a clock
	Type       reflect.Type
	Broadcast  bool // every instance gets every message, from the topic's start: see below
	Tombstones bool // it may bring messages without a payload
	Clock      *Timer
	stage      Stage
}

// A Stage is a typed function with its type erased: it decodes the body and writes what the message
// came to into r.
type Stage func(e *Envelope, r *Result) error

// A Timer is the time of a block: which keys are due, and what happens then.
type Timer struct {
	Due  func(ctx context.Context, r DueRequest) (Due, error)
	Fire func(ctx context.Context, scope, key string) (Result, error)
	// AtEnd fires every key that waits when the flow is drained for good, due or not.
	AtEnd bool
}

type earlyKey struct{}

// Early gives the context of a Fire that somebody asked for, whether the key is due or not. For drivers.
func Early(ctx context.Context) context.Context { return context.WithValue(ctx, earlyKey{}, true) }

// IsEarly reports that Fire was asked for by name and need not wait for the key to be due.
func IsEarly(ctx context.Context) bool { return ctx.Value(earlyKey{}) != nil }

// A DueRequest asks which keys of a scope are due.
type DueRequest struct {
	Scope string
	Now   time.Time
	Limit int  // at most so many keys
	All   bool // those that are not due yet as well
}

// Due is what is due. A clock asks again when Next comes or when Changed closes, and never polls a
// store that gives Changed: but once a second while there is something due that it could not have, or not do.
type Due struct {
	Keys    []string
	Next    time.Time       // when the next key is due; zero: none is known
	Changed <-chan struct{} // closed when something became due before Next; nil: the store cannot tell
}

// In is an inlet from a topic.
func In[T any](name string, topic Topic[T], f func(Message[T]) (Result, error)) Inlet {
	return Inlet{Name: name, Topic: string(topic), Type: reflect.TypeFor[T](), stage: Erase(inFunc[T](f))}
}

// Clock is an inlet from time: fire is called with each due key, and an expiry is then acknowledged,
// retried, traced and shut down like any message.
func Clock(
	name string,
	due func(ctx context.Context, r DueRequest) (Due, error),
	fire func(ctx context.Context, scope, key string) (Result, error),
) Inlet {
	return Inlet{Name: name, Clock: &Timer{Due: due, Fire: fire}, stage: func(e *Envelope, r *Result) (err error) {
		*r, err = fire(e.ctx, e.scope, e.key)
		return err
	}}
}

// Stage is the inlet's function. For drivers.
func (in *Inlet) Stage() Stage { return in.stage }

// Erase makes a block a Stage. For drivers.
func Erase[T any](block Processor[T]) Stage {
	if raw, ok := any(block).(Processor[[]byte]); ok {
		return eraseRaw(raw)
	}
	return func(e *Envelope, r *Result) (err error) {
		m := Message[T]{env: e}
		var ok bool
		if m.Body, ok = e.body.(T); !ok {
			if m.Body, err = decode[T](e); err != nil {
				return err
			}
		}
		*r, err = block.Process(m)
		return err
	}
}

// eraseRaw is Erase for bytes, which are not decoded: to box them would cost an allocation a message.
func eraseRaw(block Processor[[]byte]) Stage {
	return func(e *Envelope, r *Result) (err error) {
		m := Message[[]byte]{env: e}
		var ok bool
		if m.Body, ok = e.body.([]byte); !ok {
			if m.Body, err = e.Payload(); err != nil {
				return err
			}
		}
		*r, err = block.Process(m)
		return err
	}
}

// inFunc is the function of an inlet as a block.
type inFunc[T any] func(Message[T]) (Result, error)

func (f inFunc[T]) Process(m Message[T]) (Result, error) { return f(m) }
func (f inFunc[T]) Shape() Shape                         { return Shape{} }
