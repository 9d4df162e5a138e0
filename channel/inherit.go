package channel

import (
	"slices"
	"strconv"
)

// Get gives a header's value, "" if there is none: its own, else that of its cause.
func (e *Envelope) Get(name string) string {
	for x := e; ; x = x.cause {
		if x.x != nil {
			if value, ok := x.x.lookup(name); ok {
				return value
			}
		}
		switch {
		case x.cause == nil:
			if x.headers == nil {
				return ""
			}
			return x.headers.Get(name)
		case !x.takes(name):
			return ""
		}
	}
}

// Members are those of the delivery that e comes from: see Delivery.Members.
func (e *Envelope) Members() []Entry {
	if e.x == nil {
		return nil
	}
	return e.x.of
}

// Own gives a header that the delivery e comes from has set itself, "" if it has not. For drivers.
func (e *Envelope) Own(name string) string {
	value, _ := e.x.lookup(name)
	return value
}

// takes reports whether e takes a header over from its cause.
func (e *Envelope) takes(name string) bool {
	if name == HeaderContentType || name == HeaderSchema {
		return e.forwarded // They say how to read its bytes.
	}
	return !e.bare && inherited(name)
}

// Fields gives all headers as they leave for a broker: own, inherited, and the engine's (hops,
// conversation, original id, content type). The slice is new, with room for a trace.
func (e *Envelope) Fields() Fields {
	const most, trace = 16, 2
	var buf [most]Field // on the stack: what leaves is no longer than it has to be
	fs := e.collect(buf[:0])
	if e.cause == nil {
		return append(make(Fields, 0, len(fs)+trace), fs...)
	}
	fs = fs.With(HeaderHops, strconv.Itoa(e.Hops()))
	if first := e.Began(); first != e && fs.Get(HeaderConversation) == "" {
		fs = fs.With(HeaderConversation, first.ID())
	}
	if e.forwarded {
		fs = fs.With(HeaderOriginal, e.original())
	}
	if w := e.written(); w.cause != nil && w.hasBody && fs.Get(HeaderContentType) == "" {
		if _, raw := w.body.([]byte); !raw {
			fs = fs.With(HeaderContentType, e.codecs.For(w.topic, "").ContentType())
		}
	}
	return append(make(Fields, 0, len(fs)+trace), fs...)
}

// Began is the message that began e's conversation. A bare one, one that time caused, and one whose
// conversation was taken away begin their own.
func (e *Envelope) Began() *Envelope {
	for e.cause != nil && !e.bare && !e.cause.tick {
		if value, ok := e.x.lookup(HeaderConversation); ok && value == "" {
			break
		}
		e = e.cause
	}
	return e
}

// written is the message whose topic chose the codec of e's bytes: e, unless it was forwarded, for then
// the bytes are what they were before.
func (e *Envelope) written() *Envelope {
	for e.forwarded && e.cause != nil {
		e = e.cause
	}
	return e
}

// original is the id of what was forwarded, over any number of hops, to become e.
func (e *Envelope) original() string {
	w := e.written()
	if id := w.Get(HeaderOriginal); id != "" {
		return id
	}
	return w.ID()
}

// collect appends every header that Get finds, each once.
func (e *Envelope) collect(fs Fields) Fields {
	x, over := e, takeover{own: true, plain: true, format: true}
	for ; x.cause != nil && (over.plain || over.format); x = x.cause {
		fs = over.addAll(fs, x.x.headers())
		over = takeover{plain: over.plain && !x.bare, format: over.format && x.forwarded}
	}
	if x.cause == nil {
		fs = over.addAll(fs, x.x.headers())
		switch hs := x.headers.(type) {
		case nil:
		case Fields:
			fs = over.addAll(fs, hs)
		case interface{ Fields() Fields }:
			fs = over.addAll(fs, hs.Fields())
		case Metadata: // as below, without a closure
			for name, value := range hs {
				fs = over.add(fs, Field{name, value})
			}
		default:
			fs = over.addAll(fs, every(hs))
		}
	}
	// An empty value took a header away.
	return slices.DeleteFunc(fs, func(f Field) bool { return f.Value == "" })
}

// A takeover is what of a message's headers is also another's: takes over all hops between them.
type takeover struct{ own, plain, format bool }

func (o takeover) add(fs Fields, f Field) Fields {
	passes := o.own || o.plain && inherited(f.Name)
	if f.Name == HeaderContentType || f.Name == HeaderSchema {
		passes = o.format
	}
	if !passes {
		return fs
	}
	if _, has := fs.lookup(f.Name); has {
		return fs
	}
	return append(fs, f)
}

// addAll adds the last first: of fields with one name it counts.
func (o takeover) addAll(fs, from Fields) Fields {
	for i := len(from) - 1; i >= 0; i-- {
		fs = o.add(fs, from[i])
	}
	return fs
}

// every is apart from the others because its closure costs allocations.
func every(hs Headers) (fs Fields) {
	for name, value := range hs.All() {
		fs = append(fs, Field{name, value})
	}
	return fs
}
