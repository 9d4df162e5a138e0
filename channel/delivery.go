package channel

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// A Delivery is one message on its way to one topic. It inherits the headers and the key of the
// message that caused it, except those that speak of one message only (content type, schema). It is a
// value: its methods give a changed copy.
type Delivery struct {
	topic   string
	typ     reflect.Type
	body    any
	forward *Envelope
	x       *extra
}

// extra holds what few deliveries have. It is never changed once a delivery has it.
type extra struct {
	id         string
	key        string
	fields     Fields
	seq        *parts // it is one of them; its headers are made when asked for
	of         []Entry
	err        error // what was wrong when it was made
	index      int32 // among the parts
	hops       int32
	carried    int32 // bytes of fields that a Carrier gave, which do not count
	bestEffort bool
	deleted    bool
	bare       bool
}

// parts is a Message Sequence, shared by its parts.
type parts struct{ id, size, outer string }

// To sends a body.
func To[T any](topic Topic[T], body T) Delivery {
	return Delivery{topic: string(topic), typ: reflect.TypeFor[T](), body: body}
}

// Forward sends the message on as it came: bytes in are bytes out.
func Forward[T any](topic Topic[T], m Message[T]) Delivery {
	return Delivery{topic: string(topic), typ: reflect.TypeFor[T](), forward: m.env}
}

// ForwardRaw sends the bytes of a message to a topic of bytes, whatever its own type: for archives,
// expired and invalid messages.
func ForwardRaw(topic Topic[[]byte], e *Envelope) Delivery {
	return Delivery{topic: string(topic), typ: reflect.TypeFor[[]byte](), forward: e}
}

// Delete sends a tombstone: the key, and no payload.
func Delete[T any](topic Topic[T], key string) Delivery {
	return Delivery{topic: string(topic), typ: reflect.TypeFor[T](), x: &extra{key: key, deleted: true}}
}

// Key gives the delivery with another key than its cause's.
func (d Delivery) Key(key string) Delivery {
	d.x = d.extra()
	d.x.key = key
	return d
}

// ID gives the delivery an identity of its own: what is sent under one id by one step is one message,
// however often and because of whatever it is sent. Without it the identity is derived from the cause.
func (d Delivery) ID(id string) Delivery {
	d.x = d.extra()
	d.x.id = id
	return d
}

// Set gives the delivery with a header set. The empty value takes a header away that the delivery would
// inherit.
func (d Delivery) Set(name, value string) Delivery {
	d.x = d.extra()
	d.x.fields = append(slices.Clip(d.x.fields), Field{name, value})
	return d
}

// BestEffort gives a delivery that may be lost: if it cannot be published, that is counted and logged
// and its cause is acknowledged all the same. Its outlet must say BestEffort too.
func (d Delivery) BestEffort() Delivery {
	d.x = d.extra()
	d.x.bestEffort = true
	return d
}

// Bare gives the delivery without the headers and the key of its cause. What says how to read the bytes
// of a forwarded message (content type, schema) stays.
func (d Delivery) Bare() Delivery {
	d.x = d.extra()
	d.x.bare = true
	return d
}

// Of says which entries, besides its cause, the delivery is made of: the members of a group. Its hops
// count on from theirs, and its trace is linked to theirs. If they are parts of a Message Sequence, the delivery is none: it has the
// sequence around theirs, or none at all.
func (d Delivery) Of(members ...Entry) Delivery {
	d.x = d.extra()
	d.x.of = members
	for i := range members {
		d.x.hops = max(d.x.hops, members[i].hops)
	}
	if len(members) > 0 && members[0].Get(HeaderSequence) != "" {
		d.x.fields = append(slices.Clip(d.x.fields), around(members[0].Get(HeaderSequenceOuter))...)
	}
	return d
}

// Members are the entries that Of has said the delivery is made of. They may be a store's: read them only,
// and not after the result has settled.
func (d *Delivery) Members() []Entry {
	if d.x == nil {
		return nil
	}
	return d.x.of
}

// around gives the headers of the innermost of the outer sequences.
func around(outer string) Fields {
	rest, inner := "", outer
	if i := strings.LastIndexByte(outer, ' '); i >= 0 {
		rest, inner = outer[:i], outer[i+1:]
	}
	place, size := cutLast(inner)
	id, index := cutLast(place)
	if text, err := url.PathUnescape(id); err == nil {
		id = text
	}
	return Fields{{HeaderSequence, id}, {HeaderSequenceIndex, index}, {HeaderSequenceSize, size}, {HeaderSequenceOuter, rest}}
}

// cutLast cuts s at its last slash; without one there is nothing on either side.
func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", ""
	}
	return s[:i], s[i+1:]
}

func (d Delivery) extra() *extra {
	if d.x == nil {
		return &extra{}
	}
	c := *d.x
	return &c
}

// Topic is where the delivery goes.
func (d *Delivery) Topic() string { return d.topic }

// Type is the type of the topic it was made for.
func (d *Delivery) Type() reflect.Type { return d.typ }

// Body is the body it carries; of a forwarded message the body as far as it is known.
func (d *Delivery) Body() any {
	if d.forward != nil {
		return d.forward.body
	}
	return d.body
}

// SetKey is the key the delivery itself sets, "" if it has its cause's.
func (d *Delivery) SetKey() string {
	if d.x == nil {
		return ""
	}
	return d.x.key
}

// Err is what was wrong with the delivery when it was made: a header that could not be written.
func (d *Delivery) Err() error {
	if d.x == nil {
		return nil
	}
	return d.x.err
}

// Get gives a header that the delivery itself sets, "" if it does not.
func (d *Delivery) Get(name string) string {
	value, _ := d.Lookup(name)
	return value
}

// Lookup gives a header that the delivery itself sets, or takes away (""), and whether it does.
func (d *Delivery) Lookup(name string) (value string, ok bool) {
	return d.x.lookup(name)
}

// sequence numbers ds as the parts of one Message Sequence that e is split into: two allocations,
// however many there are.
func sequence(e *Envelope, ds []Delivery) {
	seq := &parts{id: e.ID(), size: itoa(len(ds))}
	if id := e.Get(HeaderSequence); id != "" {
		seq.outer = url.PathEscape(id) + "/" + e.Get(HeaderSequenceIndex) + "/" + e.Get(HeaderSequenceSize)
		if o := e.Get(HeaderSequenceOuter); o != "" {
			seq.outer = o + " " + seq.outer
		}
	}
	extras := make([]extra, len(ds))
	for i := range ds {
		x := &extras[i]
		if ds[i].x != nil {
			*x = *ds[i].x
		}
		x.seq, x.index = seq, int32(i)
		ds[i].x = x
	}
}

// lookup gives a header that the delivery sets, or takes away, and whether it does.
func (x *extra) lookup(name string) (value string, ok bool) {
	switch {
	case x == nil:
		return "", false
	case x.seq != nil && strings.HasPrefix(name, HeaderSequence):
		switch name {
		case HeaderSequence:
			return x.seq.id, true
		case HeaderSequenceIndex:
			return itoa(int(x.index)), true
		case HeaderSequenceSize:
			return x.seq.size, true
		case HeaderSequenceOuter:
			return x.seq.outer, true
		}
	}
	return x.fields.lookup(name)
}

// headers gives every header that the delivery sets or takes away; the last of a name counts.
func (x *extra) headers() Fields {
	switch {
	case x == nil:
		return nil
	case x.seq == nil:
		return x.fields
	}
	return append(slices.Clip(x.fields), Field{HeaderSequence, x.seq.id}, Field{HeaderSequenceIndex, itoa(int(x.index))},
		Field{HeaderSequenceSize, x.seq.size}, Field{HeaderSequenceOuter, x.seq.outer})
}
