package channel

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
)

// An Outcome is what a message came to at one step: it is counted under exactly one.
type Outcome uint8

// The outcomes. Unsaid is the zero Result's and an error.
const (
	Unsaid Outcome = iota
	Sent
	Finished // Done
	Held
	Dropped
	Invalid
	Expired
	Buried // Dead
	Streamed
)

// String gives the outcome's name as accounting prints it.
func (o Outcome) String() string {
	names := [...]string{"unsaid", "sent", "done", "held", "dropped", "invalid", "expired", "dead", "streamed"}
	if int(o) < len(names) {
		return names[o]
	}
	return "outcome " + strconv.Itoa(int(o))
}

// A Result is what one message came to, as a value: everything it causes is known before anything is
// published. The zero Result is an error, so that a forgotten case cannot lose a message.
type Result struct {
	outcome  Outcome
	sends    bool // first counts
	released int32
	reason   string
	first    Delivery
	more     []Delivery
	x        *rare
	settle   func(context.Context, error) error
}

// rare holds what few results have.
type rare struct {
	why    error
	dead   []Entry
	stream iter.Seq2[Delivery, error]
}

// Send publishes the deliveries; the message is acknowledged after all of them.
func Send(d Delivery, more ...Delivery) Result {
	return Result{outcome: Sent, sends: true, first: d, more: more}
}

// Drop ends the message here, on purpose, counted under the reason: a fixed text, not one made of the
// message.
func Drop(reason string) Result { return Result{outcome: Dropped, reason: reason} }

// Hold says that a store keeps the message; it comes out later.
func Hold() Result { return Result{outcome: Held} }

// Done says that the message's effect happened here.
func Done() Result { return Result{outcome: Finished} }

// Dead sends the entries, with the bytes and headers they came with, to the dead letter: a whole group,
// a parked message. With no entries it is the message itself that dies.
func Dead(why error, entries ...Entry) Result {
	return Result{outcome: Buried, x: &rare{why: why, dead: entries}}
}

// Stream sends more than fits in memory: published in chunks, acknowledged after the last. A driver
// that cannot carry streams refuses with ErrNotCarried.
func Stream(seq iter.Seq2[Delivery, error]) Result {
	return Result{outcome: Streamed, x: &rare{stream: seq}}
}

// And gives the result with more deliveries, whatever it was: a tap adds its copy this way.
func (r Result) And(ds ...Delivery) Result {
	if len(ds) > 0 && !r.sends {
		r.sends, r.first, ds = true, ds[0], ds[1:]
	}
	r.more = append(slices.Clip(r.more), ds...)
	return r
}

// As gives the result counted under another outcome: an expired or invalid message that is sent to its
// named place. The reason is kept for Dropped only.
func (r Result) As(o Outcome) Result {
	r.outcome = o
	return r
}

// Releases says that n messages held before leave the store with this result.
func (r Result) Releases(n int) Result {
	r.released += int32(n) //nolint:gosec // A group has fewer than 2^31 members.
	return r
}

// Sequence sends the parts of one Message Sequence that m was split into, numbered by the headers
// HeaderSequence, HeaderSequenceIndex and HeaderSequenceSize. A split of a split keeps the outer
// sequence in HeaderSequenceOuter. The slice is the result's from now on. Without parts it is the zero
// Result.
func Sequence[T any](m Message[T], parts []Delivery) Result {
	if len(parts) == 0 {
		return Result{}
	}
	sequence(m.env, parts)
	return Result{outcome: Sent, sends: true, first: parts[0], more: parts[1:]}
}

// Settle has f called exactly once, after everything the result sends is published (in a transaction:
// committed) with nil, or with the reason why not. Its context outlives the message's, so that what is
// owed can be paid. Settles nest: the innermost runs first. If f fails the message is not acknowledged
// and comes again.
func (r Result) Settle(f func(ctx context.Context, err error) error) Result {
	inner := r.settle
	if f == nil {
		return r
	}
	if inner == nil {
		r.settle = f
		return r
	}
	r.settle = func(ctx context.Context, err error) error {
		ierr := inner(ctx, err)
		return errors.Join(ierr, f(ctx, errors.Join(err, ierr)))
	}
	return r
}

// Outcome is what the result says.
func (r *Result) Outcome() Outcome { return r.outcome }

// Reason is why the message was dropped.
func (r *Result) Reason() string { return r.reason }

// Len counts the deliveries.
func (r *Result) Len() int {
	if !r.sends {
		return 0
	}
	return 1 + len(r.more)
}

// At gives the i-th delivery.
func (r *Result) At(i int) *Delivery {
	if i == 0 {
		return &r.first
	}
	return &r.more[i-1]
}

// Released counts the held messages that leave the store with this result.
func (r *Result) Released() int { return int(r.released) }

// Buried gives what Dead was given.
func (r *Result) Buried() (why error, entries []Entry) { //nolint:revive,staticcheck // The error is a value here, not what failed.
	if r.x == nil {
		return nil, nil
	}
	return r.x.why, r.x.dead
}

// Deliveries gives what Stream was given, nil if it is no stream.
func (r *Result) Deliveries() iter.Seq2[Delivery, error] {
	if r.x == nil {
		return nil
	}
	return r.x.stream
}

// Settler gives what is to run when the result is settled, nil if nothing is.
func (r *Result) Settler() func(context.Context, error) error { return r.settle }

func itoa(n int) string { return strconv.Itoa(n) }
