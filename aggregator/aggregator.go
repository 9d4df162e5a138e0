package aggregator

import (
	"errors"
	"fmt"
	"time"

	"github.com/leat-go/leat/channel"
)

// An Aggregator collects messages of one key until their group is complete, and sends one message made
// of them. It is safe for concurrent use and must not be copied once in use. Its fields are not changed
// after that.
//
// A group is complete by whichever comes first of Size, Complete, Timeout, Idle and the limits; the
// reason is in channel.HeaderCompleted of what is sent. What is sent has the headers of the message, or
// of the clock, that completed the group.
//
// If Combine fails, the group stays in the store and the message, or the clock, that completed it is
// tried again. If that fails for good the whole group goes to the dead letter: every member with the
// bytes and headers it came with.
// Source: Aggregator, Enterprise Integration Patterns, page 268.
type Aggregator[In, Out any] struct {
	// Correlate says which group a message belongs to. Required. An empty key is an ErrNoKey.
	Correlate func(In) string
	// Combine makes one body of a group, its members in the order they came. The slice is its own. It
	// may be called again for the same group.
	Combine func(key string, members []In) (Out, error)
	// Fold, instead of Combine, adds each member to what the group came to so far, at first the zero
	// Out: a group then holds one Out and 16 bytes a member. It may be called again with the same acc,
	// so it must not change what acc points to. An error is the member's own: it does not join. If such
	// a group fails, the dead letter has the state, as JSON, and the last message only.
	Fold func(acc Out, member In) (Out, error)
	// To is where the groups go. Required.
	To channel.Topic[Out]
	// Store keeps the open groups. Required.
	Store Store

	// Size completes a group of so many members. 0: any number.
	Size int
	// SizeOf, instead of Size, asks the member that opens a group. 0: any number.
	SizeOf func(first In) int
	// Complete reports that a member completes its group: the last of a sequence.
	Complete func(key string, member In) bool
	// CompleteFold reports that what Fold has made is complete.
	CompleteFold func(key string, acc Out) bool
	// Timeout completes a group so long after it was opened. 0: never.
	Timeout time.Duration
	// Idle completes a group to which nothing was added for so long. 0: never.
	Idle time.Duration
	// CompleteOnDrain completes every open group when the flow is drained for good. Otherwise they stay
	// in the store.
	CompleteOnDrain bool

	// A member that comes after its group was closed opens a new group. With DropLate it is dropped
	// instead, counted as "late"; with LateTo it is forwarded there. Then a key has one group, until it
	// is forgotten after Remember.
	DropLate bool
	LateTo   channel.Topic[In]

	// MaxOpen bounds the open groups of this step. 0: 100,000. A member that would open one more waits
	// (ErrTooManyGroups), and with it, in time, its sender: set a Timeout, or keys that never complete
	// stop the step.
	MaxOpen int
	// ReleaseOldest makes room instead: the oldest group is released as it is.
	ReleaseOldest bool
	// MaxMembers and MaxBytes (as by channel.Entry.Size) complete a group that has so much. 0: 10,000,
	// or Size if that is more; 64 MiB.
	MaxMembers int
	MaxBytes   int

	// Lease bounds the time from the completion of a group to the end of its publish. After it another
	// may release the group, under the same id. 0: 10 s.
	Lease time.Duration
	// Remember is how long a member's id is known after its group was released: longer than a message
	// can take to come again. 0: 24 h. See Memory for how many.
	Remember time.Duration
	// Key gives the key of what is sent. Nil: the group's.
	Key func(key string) string
}

// ErrNoKey is why a message without a correlation key is refused: it would share a group with all
// others that have none.
var ErrNoKey = channel.Permanent(errors.New("message has no correlation key: Correlate gave the empty string"))

// Process adds the message to its group, and releases the group if that completes it.
func (a *Aggregator[In, Out]) Process(m channel.Message[In]) (channel.Result, error) {
	key := a.Correlate(m.Body)
	if key == "" {
		return channel.Result{}, fmt.Errorf("aggregating at %s: %w", m.Scope(), ErrNoKey)
	}
	r := AddRequest{
		Scope: m.Scope(), Key: key, Entry: m.Entry(), Size: a.Size, Timeout: a.Timeout, Idle: a.Idle,
		Lease: a.lease(), Once: a.once(), MaxOpen: a.MaxOpen, ReleaseOldest: a.ReleaseOldest,
		MaxMembers: a.MaxMembers, MaxBytes: a.MaxBytes,
	}
	if r.MaxOpen == 0 {
		r.MaxOpen = defaultMaxOpen
	}
	if r.MaxMembers == 0 {
		r.MaxMembers = max(defaultMaxMembers, a.Size)
	}
	if r.MaxBytes == 0 {
		r.MaxBytes = defaultMaxBytes
	}
	if a.SizeOf != nil {
		r.Size = a.SizeOf(m.Body)
	}
	if a.Complete != nil {
		r.Complete = a.Complete(key, m.Body)
	}
	var got Added
	var err error
	if a.Fold == nil {
		got, err = a.Store.Add(m.Context(), r)
	} else {
		got, err = a.fold(m, r)
	}
	if err != nil {
		return channel.Result{}, unreachable(err)
	}
	switch got.State {
	case Opened:
		return channel.Hold(), nil
	case Duplicate:
		if m.Attempt() > 1 { // an attempt that failed further down had added it, and was not counted
			return channel.Hold(), nil
		}
		return channel.Drop("duplicate member"), nil
	case Completed:
		return a.release(m.Context(), got.Group)
	case Closed: // whoever completed the group has not released it yet, or never will
		return a.takeOver(m.Context(), ClaimRequest{Scope: r.Scope, Key: key, Member: r.Entry.UID(), Lease: r.Lease})
	case Released:
		return channel.Drop(alreadyReleased), nil
	case Late:
		if a.LateTo != "" {
			return channel.Send(channel.Forward(a.LateTo, m)), nil
		}
		return channel.Drop("late"), nil
	}
	return channel.Result{}, fmt.Errorf("adding to a group: the store gave the unknown state %d", got.State)
}

const alreadyReleased = "already released"

const (
	defaultMaxOpen    = 100_000
	defaultMaxMembers = 10_000
	defaultMaxBytes   = 64 << 20
	defaultLease      = 10 * time.Second
	defaultRemember   = 24 * time.Hour
)

func (a *Aggregator[In, Out]) lease() time.Duration {
	if a.Lease == 0 {
		return defaultLease
	}
	return a.Lease
}

func (a *Aggregator[In, Out]) remember() time.Duration {
	if a.Remember == 0 {
		return defaultRemember
	}
	return a.Remember
}

func (a *Aggregator[In, Out]) once() bool { return a.DropLate || a.LateTo != "" }

// unreachable makes an error of a store that says nothing of itself Later: the store is down, and no
// outage sends a message to the dead letter.
func unreachable(err error) error {
	if _, later := channel.IsLater(err); later || channel.IsPermanent(err) {
		return err
	}
	if own, ok := errors.AsType[*foldError](err); ok {
		return own.err
	}
	return channel.Later(err, 0)
}
