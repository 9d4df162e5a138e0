package adapters

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// ErrFull is why a publish that may not wait failed: nobody has read what is on the topic.
var ErrFull = errors.New("topic is full")

// ErrClosed is why a publish or a read failed after Close.
var ErrClosed = errors.New("pub/sub is closed")

// A Grouper is a Subscriber that can stand for another consumer group. Every group sees every message;
// the members of one share them. "" is a group of its own for every subscription. Whoever asked closes what he was given, which
// closes nothing else; it closes with the Grouper at the latest.
type Grouper interface {
	Group(name string) message.Subscriber
}

// An Order says which messages of one topic may be in flight at once, in one group.
type Order uint8

// The orders. A message without a key keeps the order of its partition.
const (
	KeyOrdered Order = iota // one of each key; the default
	Ordered                 // one
	Unordered               // any
)

// String gives the order's name.
func (o Order) String() string {
	return [...]string{"KeyOrdered", "Ordered", "Unordered"}[min(o, Unordered)]
}

// Claims is a Subscriber that hands over whole partitions, so that the flow owns lanes and order.
type Claims interface {
	// Claim calls own for each partition of the topics that this member comes to own, in a goroutine
	// each, until ctx ends or the Subscriber is closed, and returns when every own has returned. One
	// call for all topics of a flow is one member of the group. An own that outstays DrainTimeout
	// loses what it has not finished: it is delivered again.
	Claim(ctx context.Context, topics []string, own func(Claim)) error
}

// A Claim is one partition while this member owns it. Its methods are safe for concurrent use.
type Claim interface {
	// Context ends, with a cause, when ownership is lost; what was not finished is then another's.
	Context() context.Context
	Topic() string
	Order() Order
	// Next waits for one record, then takes what is there, appending to run up to its capacity; it
	// waits while the window is full. It gives an error once no more will come: the context of Claim
	// ended, the partition is to go to another member, or ownership was lost. Records already given out stay
	// owned until own returns. That the subscription itself has come to an end, Claim says. A record that comes again
	// is another Record.
	Next(run []*Record) ([]*Record, error)
	// Finish acknowledges records that Next gave, in any order; they are committed contiguously.
	Finish(rs []*Record)
	// Return gives records back, in any order: they are delivered again, before what came after them
	// under the same key.
	Return(rs []*Record)
}

// A Record is one message as the client has it. Nobody changes it, but for Unseen.
type Record struct {
	Context context.Context //nolint:containedctx // The record's own; nil: the Claim's.
	ID      string          // stable over redeliveries
	Key     string
	Payload []byte // nil: a tombstone
	Headers channel.Headers
	Native  any // the adapter's own; if it is a fmt.Stringer, the record's origin
	Again   int // deliveries before this one, as far as the adapter knows
	// Doubtful says that somebody who owned the message before may have been given it: an owner that ended without a
	// word of what it had finished.
	Doubtful bool
	// Unseen is set on a record that is returned by whoever has shown it to nobody: it does not count as delivered.
	Unseen bool
	// Err is why this is no message: a limit, a forged header, bytes that nobody can read. What could be
	// had of it is in the other fields. Nobody decodes it: it goes to the dead letter as it is.
	Err error
}

// Redelivered reports that the message may have been delivered before.
func (r *Record) Redelivered() bool { return r.Again > 0 || r.Doubtful }

// Unseen marks records that are returned and were shown to nobody.
func Unseen(rs []*Record) []*Record {
	for i := range rs {
		rs[i].Unseen = true
	}
	return rs
}

// RedeliveredKey is where the context of a message that a Subscriber has delivered says, by a bool, that it may have
// been delivered before.
type RedeliveredKey struct{}

// GiveBackKey is where the context of a message that a Subscriber has delivered may offer a func(). Whoever calls it before
// a nack gives the message back: it comes again, and that it came back is no failure of its own.
type GiveBackKey struct{}

// An Outgoing is one message to publish. The publisher may keep Headers and Payload; nobody changes
// them.
type Outgoing struct {
	Context context.Context //nolint:containedctx // It is the message's own: its deadline bounds the publish.
	Topic   string
	ID      string
	Key     string
	Headers channel.Fields
	Payload []byte // nil: a tombstone
	// NoWait has the publish fail with ErrFull where it would wait for room: the sender is the one
	// who has to make it.
	NoWait bool
	// Err is what became of it, set before done is called.
	Err error
	// Owner is the caller's own.
	Owner any
}

// A BatchPublisher is a Publisher that publishes many messages in one operation, with a result for
// each, and waits for none.
type BatchPublisher interface {
	// Send publishes outs. It calls done with every one of them exactly once, in one call or several,
	// from any goroutine, possibly before it returns; neither keeps the other's slice. What one goroutine sends
	// keeps its order per topic and key: within one call, nothing is published behind one of its topic and key
	// that failed and may be sent again.
	Send(outs []*Outgoing, done func([]*Outgoing))
}

// ErrLost is why a transaction came to nothing: a claim in it is no longer this member's. What was to be
// finished is another's now.
var ErrLost = errors.New("ownership was lost")

// ErrFenced is why no transaction of a publisher succeeds any more: another one has taken over its
// identity.
var ErrFenced = errors.New("publisher was replaced by another of the same identity")

// A Transactor is a BatchPublisher that publishes and acknowledges in one transaction. Its claims come
// from a Subscriber of the same broker.
type Transactor interface {
	// Recover has the broker end what an earlier Transactor of the same identity left under way, as one whose process was
	// killed does: until that is ended, nobody can go on where it was. It is called before anything is read of the
	// subscribers whose claims Transact finishes, and returns once it is done. An error says why no transaction can be begun.
	Recover(ctx context.Context, subs []message.Subscriber) error
	// Transact publishes outs, finishes what was worked on to get them, and returns when both are done
	// or neither is: with an error no reader of committed messages will see any of outs, and nothing is
	// finished. Then it may be called again with the same, unless the error is ErrLost or ErrFenced. The
	// records of one claim are those after the last that were finished, in order, without a gap. One
	// call at a time.
	Transact(ctx context.Context, finished []Finished, outs []*Outgoing) error
}

// Finished are records of one claim that a transaction finishes.
type Finished struct {
	Claim   Claim
	Records []*Record
}

// A Transactable is a Subscriber of Claims that may be set up so that no transaction can have what it reads.
type Transactable interface {
	// Transactable says why that is so, and what to do; nil: a Transactor may finish its records.
	Transactable() error
}

// A Follower is a Subscriber without a group that reads topics from their start, every message of them.
type Follower interface {
	// Follow is Claim, and calls caughtUp once: when everything that was on the topics when it began is
	// finished.
	Follow(ctx context.Context, topics []string, own func(Claim), caughtUp func()) error
}

// Topics is a Publisher or Subscriber of a broker whose topics have to exist.
type Topics interface {
	// Ensure makes the topics that are missing, if the adapter was told to; else a missing one is an
	// error that names it, quoted, and says how it can be made.
	Ensure(ctx context.Context, topics []string) error
}

// Located is a Record's Native that knows its place on a broker with partitions: for spans.
type Located interface {
	Location() (partition string, offset int64)
}

// Lagger is a Subscriber that knows how many messages of a topic its group has not finished, those in
// flight included: for metrics.
type Lagger interface {
	Lag(topic string) int64
}

// A System is a Publisher or Subscriber that knows what it speaks to, by the name that OpenTelemetry has
// for it ("kafka"), or one of its own ("redis", "memory").
type System interface {
	System() string
}

// As finds a capability of a Publisher or Subscriber, through decorators that have an Unwrap method.
func As[C any](v any) (c C, ok bool) {
	for v != nil {
		if c, ok = v.(C); ok {
			return c, true
		}
		switch u := v.(type) {
		case interface{ Unwrap() message.Publisher }:
			v = u.Unwrap()
		case interface{ Unwrap() message.Subscriber }:
			v = u.Unwrap()
		default:
			return c, false
		}
	}
	return c, false
}
