package channel

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// An Envelope is one message on its way through one step: what interceptors see, and what a Message is
// a typed view of. It is a link to its cause, not a copy: headers, ids and bytes are computed when
// somebody asks. It belongs to the engine and must not be kept after the step has settled (an Entry
// may); use it from one goroutine at a time.
type Envelope struct {
	ctx     context.Context //nolint:containedctx // It is the message's own.
	cause   *Envelope       // nil: it arrived
	headers Headers         // of what arrived
	codecs  *Codecs
	carry   Carrier // nil: nothing is
	topic   string  // logical
	scope   string  // "flow/step" that processes it
	id      string
	key     string
	x       *extra // what the block that sent it set
	body    any
	payload []byte
	uid     ID
	first   ID     // of its deliveries to firstOn
	firstOn string // "": none was asked for
	ordinal int32  // among the deliveries of its cause to this topic
	hops    int32
	attempt int32

	hasUID, hasHops, hasBody, deleted, bare, forwarded, tick, raw, redelivered bool
}

// An Arrival is what a driver knows of a message that arrives. Set Body for one that is handed over
// in the process, Payload for one that comes as bytes.
type Arrival struct {
	Context context.Context //nolint:containedctx // It is the message's own.
	Topic   string          // logical
	Scope   string          // "flow/step"
	ID      string          // "": a random one when asked for
	Key     string
	Headers Headers // nil: none
	Codecs  *Codecs // nil: JSON
	Carry   Carrier // nil: what the context has does not travel with an Entry
	Payload []byte
	Body    any
	HasBody bool // Body counts
	// Redelivered says that it may have been delivered before.
	Redelivered bool
	Tick        bool // not a message: a clock's due Key
}

// A Carrier gives the headers by which what is not in a message's own, such as the trace of its context,
// travels with it when a store keeps it. It is safe for concurrent use.
type Carrier func(e *Envelope) Fields

// Arrive makes e, whatever it was, the envelope of a message that arrived. For drivers.
func (e *Envelope) Arrive(a *Arrival) {
	*e = Envelope{
		ctx: a.Context, topic: a.Topic, scope: a.Scope, id: a.ID, key: a.Key, headers: a.Headers,
		codecs: a.Codecs, carry: a.Carry, payload: a.Payload, body: a.Body, hasBody: a.HasBody, tick: a.Tick,
		deleted: !a.HasBody && a.Payload == nil && !a.Tick, raw: !a.HasBody && !a.Tick,
		redelivered: a.Redelivered,
	}
}

// Follow makes e, which must be a zero Envelope, that of a delivery that cause, processed by the step
// of its scope, has made: the ordinal-th on its topic. Scope is the step that is to process it, "" when
// it leaves. For drivers.
func (e *Envelope) Follow(cause *Envelope, d *Delivery, ordinal int, scope string) {
	e.ctx, e.cause, e.codecs, e.carry = cause.ctx, cause, cause.codecs, cause.carry
	e.topic, e.scope = d.topic, scope
	e.ordinal, e.attempt = int32(ordinal), cause.attempt //nolint:gosec // A result holds fewer than 2^31 deliveries.
	e.redelivered = cause.redelivered
	e.key = cause.key
	if x := d.x; x != nil {
		e.x, e.deleted, e.bare = x, x.deleted, x.bare
		if x.key != "" || x.bare {
			e.key = x.key
		}
	}
	switch {
	case d.forward != nil:
		f := d.forward
		e.forwarded, e.body, e.payload, e.hasBody, e.deleted = true, f.body, f.payload, f.hasBody, f.deleted
	case !e.deleted:
		e.body, e.hasBody = d.body, true
	}
}

// Root is the message that arrived and caused this one: itself, if it did.
func (e *Envelope) Root() *Envelope {
	for e.cause != nil {
		e = e.cause
	}
	return e
}

// Cause is the message that caused this one, nil if it arrived.
func (e *Envelope) Cause() *Envelope { return e.cause }

// Context ends when the message's deadline passes, when the flow gives the message back, or when the
// step has settled.
func (e *Envelope) Context() context.Context { return e.ctx }

// SetContext replaces the context: for drivers and for interceptors that add a value or a deadline.
func (e *Envelope) SetContext(ctx context.Context) { e.ctx = ctx }

// SetAttempt says how often the message that arrived has been tried, from 1. For drivers.
func (e *Envelope) SetAttempt(n int) { e.attempt = int32(n) } //nolint:gosec // Nobody tries 2^31 times.

// Attempt counts the tries of the message that arrived, this one included.
func (e *Envelope) Attempt() int { return int(e.attempt) }

// Redelivered reports that the message that arrived may have been delivered before, as far as the adapter knows.
func (e *Envelope) Redelivered() bool { return e.redelivered }

// Topic is the logical topic the message is on.
func (e *Envelope) Topic() string { return e.topic }

// Scope is "flow/step", the namespace of everything the step remembers.
func (e *Envelope) Scope() string { return e.scope }

// Key is the message's key, "" if it has none. Messages of one key keep their order.
func (e *Envelope) Key() string { return e.key }

// Deleted reports a tombstone: a key without a payload.
func (e *Envelope) Deleted() bool { return e.deleted }

// Tick reports that this is not a message but a clock's due key.
func (e *Envelope) Tick() bool { return e.tick }

// ID is the message's identity in text: as it arrived, or derived from its cause, the step that sent
// it, topic and ordinal, and so the same at every attempt and redelivery.
func (e *Envelope) ID() string {
	if e.id == "" {
		e.id = e.UID().String()
	}
	return e.id
}

// UID is the identity of ID in 16 bytes.
func (e *Envelope) UID() ID {
	if e.hasUID {
		return e.uid
	}
	e.hasUID = true
	switch {
	case e.id != "":
		e.uid = IDOf(e.id)
	case e.cause == nil:
		e.uid = NewID()
	case e.x != nil && e.x.id != "":
		e.uid = DeriveID(e.cause.scope, e.x.id)
	default:
		e.uid = e.cause.offspring(e.topic).nth(e.ordinal)
	}
	return e.uid
}

// offspring is the identity that those of e's deliveries to a topic are numbered from. It is kept, since
// a split asks for it at every part.
func (e *Envelope) offspring(topic string) ID {
	if e.firstOn != topic {
		e.first, e.firstOn = derive(e.scope, e.UID(), topic), topic
	}
	return e.first
}

// Hops counts the hops behind the message: those it arrived with and those since.
func (e *Envelope) Hops() int {
	if e.hasHops {
		return int(e.hops)
	}
	e.hasHops = true
	switch {
	case e.cause != nil:
		n := e.cause.Hops()
		if e.x != nil {
			n = max(n, int(e.x.hops))
		}
		e.hops = int32(min(n, math.MaxInt32-1)) + 1 //nolint:gosec // It stays at the most there is.
	case e.headers != nil:
		// Too many to read is the most there is, so that no header can bring a loop back to its start.
		if said := e.headers.Get(HeaderHops); said != "" {
			n, _ := strconv.ParseInt(said, 10, 32)
			e.hops = int32(max(n, 0))
		}
	}
	return int(e.hops)
}

// Expires gives the message's own deadline (HeaderExpires) and whether it has one. A deadline that
// cannot be read is an error that says so.
func (e *Envelope) Expires() (at time.Time, ok bool, err error) {
	if e.Get(HeaderExpires) == "" {
		return at, false, nil
	}
	return Header[time.Time](HeaderExpires).Get(e)
}

// Bytes gives the bytes that the message arrived with, nil for a tombstone. It gives false if the message
// was caused in the process, or handed over there as anything but a []byte.
func (e *Envelope) Bytes() ([]byte, bool) {
	if e.raw || e.cause != nil {
		return e.payload, e.raw
	}
	b, ok := e.body.([]byte)
	if ok && b == nil {
		b = []byte{} // as it travels
	}
	return b, ok
}

// Payload gives the message's bytes; nobody may change them. Over a direct hop there are none until
// somebody asks. An ErrEncode names the body's type.
func (e *Envelope) Payload() ([]byte, error) {
	if e.payload != nil || !e.hasBody || e.deleted {
		return e.payload, nil
	}
	w := e.written()
	b, err := encode(e.codecs, w.topic, w.Get(HeaderContentType), e.body)
	if err != nil {
		return nil, err
	}
	e.payload = b
	return b, nil
}

var errNoBytes = errors.New("the codec gave nil: an empty payload is []byte{}")

func encode(codecs *Codecs, topic, contentType string, body any) ([]byte, error) {
	if raw, ok := body.([]byte); ok {
		if raw == nil {
			raw = []byte{} // an empty payload, not a tombstone
		}
		return raw, nil
	}
	b, err := codecs.For(topic, contentType).Encode(body)
	if err == nil && b == nil {
		err = errNoBytes
	}
	if err != nil {
		return nil, fmt.Errorf("encoding %T for topic %q: %w: %w", body, topic, ErrEncode, err)
	}
	return b, nil
}

// BestEffort reports that the delivery may be lost without failing its cause.
func (e *Envelope) BestEffort() bool { return e.x != nil && e.x.bestEffort }

// Watermill gives a copy of the message as Watermill has it: id, metadata, payload, context.
func (e *Envelope) Watermill() (*message.Message, error) {
	p, err := e.Payload()
	if err != nil {
		return nil, err
	}
	return watermill(e.ctx, e.ID(), e.key, e.Fields(), p), nil
}

func watermill(ctx context.Context, id, key string, fs Fields, payload []byte) *message.Message {
	m := message.NewMessage(id, payload)
	for i := range fs {
		m.Metadata[fs[i].Name] = fs[i].Value
	}
	if key != "" {
		m.Metadata[HeaderKey] = key
	}
	if ctx != nil {
		m.SetContext(ctx)
	}
	return m
}

// Entry gives the message at rest: what a store may keep when the envelope is gone. Its headers carry
// what its context has, so that what is made of it later can be linked to it.
func (e *Envelope) Entry() Entry {
	x := e.entry()
	if e.carry != nil {
		if fs := e.carry(e); len(fs) > 0 {
			x = x.with(fs)
		}
	}
	return x
}

func (e *Envelope) entry() Entry {
	x := Entry{
		uid: e.UID(), id: e.id, key: e.key, topic: e.written().topic, codecs: e.codecs, hops: int32(e.Hops()), //nolint:gosec // Bounded by MaxHops.
		body: e.body, hasBody: e.hasBody, payload: e.payload, deleted: e.deleted,
	}
	if e.cause == nil && e.x == nil {
		x.base = e.headers
		return x
	}
	// The common case, a direct hop from what arrived, shares the headers of both.
	if c := e.cause; c != nil && c.cause == nil && !e.bare && !c.tick && c.x == nil {
		x.x, x.base, x.cause, x.forwarded = e.x, c.headers, c.ID(), e.forwarded
		return x
	}
	x.x = &extra{fields: e.Fields()}
	return x
}
