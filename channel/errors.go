package channel

import (
	"context"
	"errors"
	"time"
)

// The errors that are the message's own: no retry helps, it goes to the dead letter at once.
// Each is matched by errors.Is and is Permanent.
var (
	// ErrDecode: the payload is not what the topic's type and codec say.
	ErrDecode = Permanent(errors.New("payload cannot be decoded"))
	// ErrEncode: a body that a block sent cannot be written by the topic's codec.
	ErrEncode = Permanent(errors.New("body cannot be encoded"))
	// ErrInvalid: the message can be read but makes no sense. Return it from your own checks, wrapped.
	ErrInvalid = Permanent(errors.New("message is invalid"))
	// ErrNoRoute: a router has no branch for the message and no Otherwise.
	ErrNoRoute = Permanent(errors.New("no route matches the message: add a When or an Otherwise"))
	// ErrUndeclared: a block sent to a topic, or a type, that its Shape does not declare.
	ErrUndeclared = Permanent(errors.New("delivery to an undeclared destination: declare it as an Outlet of the block's Shape"))
	// ErrNoResult: a block returned the zero Result.
	ErrNoResult = Permanent(errors.New("block said nothing: return Send, Drop, Hold, Done, Dead or Stream"))
	// ErrLoop: a message has been through more hops than MaxHops.
	ErrLoop = Permanent(errors.New("message goes in circles: too many hops"))
	// ErrTooLarge: a message is beyond the Limits.
	ErrTooLarge = Permanent(errors.New("message is too large"))
	// ErrTombstone: a message without a payload came to an inlet that takes none.
	ErrTombstone = Permanent(errors.New("message has no payload (a tombstone): set Tombstones in the block's Shape to take it"))
	// ErrNotCarried: the driver that runs the flow cannot do this yet; it says so rather than do less.
	ErrNotCarried = Permanent(errors.New("not carried by this driver"))
)

// ErrExpired is the cause with which a message's context ends when its own deadline (HeaderExpires)
// passes. An expired message is not tried again.
var ErrExpired = errors.New("message expired")

// ErrStopped is the cause with which contexts end when the flow stops or loses what it owned: the
// message is given back, not failed.
var ErrStopped = errors.New("flow is stopping")

// Permanent marks an error that trying again cannot mend: the message goes to the dead letter at once.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether err, or one that it wraps, is Permanent.
func IsPermanent(err error) bool {
	_, ok := errors.AsType[*permanentError](err)
	return ok
}

// Later marks an error that is not the message's: a store is busy, a lease is held elsewhere. The
// message is held and tried again after the pause (0: the engine's own, a second), never counted as
// an attempt and never dead-lettered. Later(nil, d) is nil.
func Later(err error, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &laterError{err, after}
}

// IsLater reports whether err, or one that it wraps, is Later, and the pause it asks for.
func IsLater(err error) (after time.Duration, ok bool) {
	l, ok := errors.AsType[*laterError](err)
	if !ok {
		return 0, false
	}
	return l.after, true
}

// IsExpired reports whether the work under ctx failed because the message's own deadline passed.
func IsExpired(ctx context.Context, err error) bool {
	return errors.Is(err, ErrExpired) || errors.Is(context.Cause(ctx), ErrExpired)
}

type permanentError struct{ err error }

func (p *permanentError) Error() string { return p.err.Error() }
func (p *permanentError) Unwrap() error { return p.err }

type laterError struct {
	err   error
	after time.Duration
}

func (l *laterError) Error() string { return l.err.Error() }
func (l *laterError) Unwrap() error { return l.err }
