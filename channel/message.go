package channel

import (
	"context"
	"fmt"
	"reflect"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A Message is what a block gets: the decoded body, and read access to the rest. It cannot be
// acknowledged and its bytes cannot be changed; the engine does the one, and nobody the other. Use it
// from one goroutine at a time and not after Process has returned; keep an Entry instead.
type Message[T any] struct {
	Body T
	env  *Envelope
}

// NewMessage makes a message for a test of a block. Headers are given as name, value, name, value;
// HeaderKey sets the key.
func NewMessage[T any](id string, body T, headers ...string) Message[T] {
	fs := make(Fields, 0, len(headers)/2)
	for i := 0; i+1 < len(headers); i += 2 {
		fs = append(fs, Field{headers[i], headers[i+1]})
	}
	e := &Envelope{}
	e.Arrive(&Arrival{
		Context: context.Background(), Scope: "test/step", ID: id, Key: fs.Get(HeaderKey),
		Headers: fs, Body: body, HasBody: true,
	})
	e.attempt = 1
	return Message[T]{Body: body, env: e}
}

// Context ends when the message's deadline passes or the flow gives the message back.
func (m Message[T]) Context() context.Context { return m.env.ctx }

// ID is the message's identity, the same at every attempt and redelivery.
func (m Message[T]) ID() string { return m.env.ID() }

// Key is the message's key, "" if it has none.
func (m Message[T]) Key() string { return m.env.key }

// Topic is the logical topic the message is on.
func (m Message[T]) Topic() string { return m.env.topic }

// Scope is "flow/step": the namespace of everything a block remembers.
func (m Message[T]) Scope() string { return m.env.scope }

// Attempt counts the tries of the message, this one included.
func (m Message[T]) Attempt() int { return int(m.env.attempt) }

// Redelivered reports that the message that arrived may have been delivered before, to this process or another: it was
// given back, or whoever had it ended without a word of what it had finished. What an effect did then may be done
// again. Attempts within the process do not count.
func (m Message[T]) Redelivered() bool { return m.env.redelivered }

// Get gives a header's value, "" if there is none.
func (m Message[T]) Get(name string) string { return m.env.Get(name) }

// Payload gives the bytes as they arrived, or, over a direct hop, the encoded body. Nobody may change
// them.
func (m Message[T]) Payload() ([]byte, error) { return m.env.Payload() }

// Deleted reports a tombstone: a key without a payload. Body is then the zero value.
func (m Message[T]) Deleted() bool { return m.env.deleted }

// Entry gives the message at rest, for a store.
func (m Message[T]) Entry() Entry { return m.env.Entry() }

// Watermill gives a copy as Watermill has it: for code that speaks Watermill.
func (m Message[T]) Watermill() (*message.Message, error) { return m.env.Watermill() }

// decode gives the envelope's body as a T and keeps what it had to decode: a forward over a direct hop
// hands it on.
func decode[T any](e *Envelope) (body T, err error) {
	if e.hasBody {
		if b, ok := e.body.(T); ok {
			return b, nil
		}
	}
	if e.deleted {
		return body, nil
	}
	if p, ok := any(&body).(*[]byte); ok {
		*p, err = e.Payload()
		return body, err
	}
	if e.hasBody && e.payload == nil {
		if e.body == nil { // the nil of an interface type
			return body, nil
		}
		return body, fmt.Errorf("topic %s: %w: body is a %T, not a %v", e.topic, ErrDecode, e.body, reflect.TypeFor[T]())
	}
	if err := e.codecs.For(e.written().topic, e.Get(HeaderContentType)).Decode(e.payload, &body); err != nil {
		var none T // and not half a body
		return none, fmt.Errorf("decoding %v from topic %s (%d bytes): %w: %w", reflect.TypeFor[T](), e.topic, len(e.payload), ErrDecode, err)
	}
	e.body, e.hasBody = body, true
	return body, nil
}
