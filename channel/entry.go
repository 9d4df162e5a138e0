package channel

import (
	"context"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
)

// An Entry is a message at rest: id, key, headers and bytes, which stores keep. A store in the process
// may keep it as it is, and then a body that came over a direct hop is never encoded; a store elsewhere
// writes ID, Key, Headers, Payload and Hops, and makes it anew with NewEntry. It is immutable.
type Entry struct {
	uid       ID
	id        string
	key       string
	topic     string
	x         *extra  // its own headers
	base      Headers // of what arrived, shared
	cause     string  // if base is its cause's: that one's id
	codecs    *Codecs
	body      any
	payload   []byte
	hops      int32
	hasBody   bool
	deleted   bool
	forwarded bool
}

// NewEntry makes an entry of what a store has read. A nil payload is a tombstone.
func NewEntry(id, key string, headers Fields, payload []byte) Entry {
	hops := (&Envelope{headers: headers}).Hops()
	return Entry{uid: IDOf(id), id: id, key: key, x: &extra{fields: headers}, payload: payload, hops: int32(hops), deleted: payload == nil} //nolint:gosec // As it was written.
}

// ID is the message's id in text.
func (e Entry) ID() string {
	if e.id == "" {
		return e.uid.String()
	}
	return e.id
}

// UID is the identity of ID in 16 bytes: what stores tell entries apart by.
func (e Entry) UID() ID { return e.uid }

// Key is the message's key, "" if it has none.
func (e Entry) Key() string { return e.key }

// Hops counts the hops behind the message.
func (e Entry) Hops() int { return int(e.hops) }

// Deleted reports a tombstone.
func (e Entry) Deleted() bool { return e.deleted }

// Get gives a header's value, "" if there is none: what Headers has.
func (e Entry) Get(name string) string {
	switch name {
	case HeaderHops, HeaderConversation, HeaderOriginal, HeaderContentType: // the engine's, made when asked for
		return e.Headers().Get(name)
	}
	if value, ok := e.x.lookup(name); ok {
		return value
	}
	if e.base == nil || e.cause != "" && !inherited(name) && (name != HeaderSchema || !e.forwarded) {
		return ""
	}
	return e.base.Get(name)
}

// Headers gives all headers as they would have left for a broker, those of the engine included. The
// slice is new.
func (e Entry) Headers() Fields { return e.envelope().Fields() }

// Payload gives the bytes, encoding the body if there are none yet. Nobody may change them.
func (e Entry) Payload() ([]byte, error) {
	return e.envelope().Payload()
}

// Size is about how much memory the entry holds: payload, headers it has of its own, key, bookkeeping; not what
// it carries of a trace, so that a group is as large with tracing as without.
// A body that was never encoded counts nothing.
func (e Entry) Size() int {
	n := 176 + len(e.payload) + len(e.key)
	if e.x == nil {
		return n
	}
	for _, f := range e.x.fields {
		n += len(f.Name) + len(f.Value)
	}
	return n - int(e.x.carried)
}

// Watermill gives the message as Watermill has it.
func (e Entry) Watermill(ctx context.Context) (*message.Message, error) {
	p, err := e.Payload()
	if err != nil {
		return nil, err
	}
	return watermill(ctx, e.ID(), e.key, e.Headers(), p), nil
}

// with gives the entry with headers that stand in for those it has.
func (e Entry) with(fs Fields) Entry {
	x := extra{}
	if e.x != nil {
		x = *e.x
	}
	x.fields = append(slices.Clip(x.fields), fs...)
	for _, f := range fs {
		x.carried += int32(len(f.Name) + len(f.Value)) //nolint:gosec // Headers are bounded.
	}
	e.x = &x
	return e
}

// On gives the entry with the topic and codecs that Body decodes by: stores that read entries from
// elsewhere know neither.
func (e Entry) On(topic string, codecs *Codecs) Entry {
	e.topic, e.codecs = topic, codecs
	return e
}

// Body gives the entry's body, decoding it if it came as bytes. An ErrDecode names topic and type.
func Body[T any](e Entry) (T, error) {
	if b, ok := e.body.(T); ok {
		return b, nil
	}
	return decode[T](e.envelope())
}

// envelope is the entry as if it had just arrived, or followed from what did.
func (e Entry) envelope() *Envelope {
	x := &Envelope{
		id: e.id, uid: e.uid, hasUID: true, key: e.key, topic: e.topic, codecs: e.codecs,
		body: e.body, hasBody: e.hasBody, payload: e.payload, deleted: e.deleted, hops: e.hops, hasHops: true, x: e.x,
	}
	if e.cause != "" {
		x.cause, x.forwarded = &Envelope{id: e.cause, topic: e.topic, headers: e.base}, e.forwarded
	} else {
		x.headers = e.base
	}
	return x
}
