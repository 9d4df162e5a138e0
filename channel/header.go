package channel

import (
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// The headers that blocks, engine and adapters agree on. They travel as Watermill metadata.
const (
	// HeaderKey carries the message's key over a Pub/Sub that has no keys of its own.
	HeaderKey = "leat-key"
	// HeaderContentType names the codec of the payload. It is not inherited by what a message causes.
	HeaderContentType = "leat-content-type"
	// HeaderSchema names the schema of the payload. It is not inherited by what a message causes.
	HeaderSchema = "leat-schema"
	// HeaderExpires is the message's own deadline, RFC 3339 with nanoseconds (see Expiry).
	HeaderExpires = "leat-expires"
	// HeaderHops counts the broker hops and direct hops a message has behind it.
	HeaderHops = "leat-hops"
	// HeaderConversation is the id of the message that began it all.
	HeaderConversation = "leat-conversation-id"
	// HeaderOriginal is the id under which a forwarded message first arrived.
	HeaderOriginal = "leat-original-id"
	// HeaderSequence, HeaderSequenceIndex (from 0) and HeaderSequenceSize say which part of a
	// Message Sequence this is; HeaderSequenceOuter holds the sequences around it as id/index/size,
	// separated by spaces, innermost last.
	HeaderSequence      = "leat-sequence"
	HeaderSequenceIndex = "leat-sequence-index"
	HeaderSequenceSize  = "leat-sequence-size"
	HeaderSequenceOuter = "leat-sequence-outer"
	// HeaderCompleted says why an aggregator released the group a message was made of.
	HeaderCompleted = "leat-completed"
	// HeaderHistory lists the steps that a message has come through, as "flow/step" separated by spaces, the
	// oldest first: the Message History of a flow that keeps one.
	HeaderHistory = "leat-history"
	// HeaderMembers is what the state of a folded group keeps of its members: what the contexts of the first
	// carried, such as their traces. HeaderMemberCount is how many they are.
	HeaderMembers     = "leat-members"
	HeaderMemberCount = "leat-member-count"
	// HeaderReason says why a message is on an invalid message channel.
	HeaderReason = "leat-reason"
	// HeaderOnly makes a message be for one step (its scope, "flow/step") of those on its topic:
	// a dead letter that was put back.
	HeaderOnly = "leat-only"
	// HeaderAttempt counts the deliveries of a message, this one included, in the metadata of every delivery by
	// a plain subscription but the first.
	HeaderAttempt = "leat-attempt"
	// HeaderPutBack tells one putting back of a dead letter from the next.
	HeaderPutBack = "leat-put-back"
)

// inherited reports whether what a message causes takes over this header of it.
// This is the one list of headers that speak of one message only.
func inherited(name string) bool {
	switch name {
	case HeaderContentType, HeaderSchema, HeaderHops, HeaderKey, HeaderOnly, HeaderPutBack, HeaderReason, HeaderOriginal, HeaderMembers, HeaderMemberCount, HeaderAttempt:
		return false
	}
	return true
}

// Headers is read access to the headers a message arrived with. Implementations are immutable and
// safe for concurrent use. One that also has a method Fields() Fields is read without an allocation.
type Headers interface {
	// Get gives the header's value, "" if there is none.
	Get(name string) string
	// All yields every header once, in no particular order.
	All() iter.Seq2[string, string]
}

// A Field is one header.
type Field struct{ Name, Value string }

// Fields are headers as a short list: cheaper than a map up to a few dozen. Of fields with one name the
// last counts.
type Fields []Field

// Get gives the value of the last field of that name, "" if there is none.
func (fs Fields) Get(name string) string {
	value, _ := fs.lookup(name)
	return value
}

func (fs Fields) lookup(name string) (value string, ok bool) {
	for i := len(fs) - 1; i >= 0; i-- {
		if fs[i].Name == name {
			return fs[i].Value, true
		}
	}
	return "", false
}

// With gives fs with the header's value replaced, or added. It may change fs.
func (fs Fields) With(name, value string) Fields {
	for i := len(fs) - 1; i >= 0; i-- {
		if fs[i].Name == name {
			fs[i].Value = value
			return fs
		}
	}
	return append(fs, Field{name, value})
}

// All yields every field, also those that do not count.
func (fs Fields) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range fs {
			if !yield(fs[i].Name, fs[i].Value) {
				return
			}
		}
	}
}

// Metadata makes Watermill's metadata Headers. It is not copied: nobody may change it afterwards.
type Metadata message.Metadata

// Get gives the header's value, "" if there is none.
func (m Metadata) Get(name string) string { return m[name] }

// All yields every header, in random order.
func (m Metadata) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for k, v := range m {
			if !yield(k, v) {
				return
			}
		}
	}
}

// A Header is a header's name that knows the type of its value, as a Topic knows its body's.
// A string is written as it is, an int, int64, bool or time.Duration in Go's notation, a time.Time in
// RFC 3339's, and every other type, a named string too, as JSON. An empty string is no header.
//
//	const Tenant channel.Header[string] = "tenant"
//	const Weight channel.Header[int] = "weight"
type Header[V any] string

// Get reads the header from a message. It gives false if the message has none, and a permanent error
// that names the header, and not its value, if what it has cannot be read as a V.
func (h Header[V]) Get(m interface{ Get(name string) string }) (v V, ok bool, err error) {
	s := m.Get(string(h))
	if s == "" {
		return v, false, nil
	}
	if err := readValue(s, &v); err != nil {
		var none V
		return none, false, Permanent(fmt.Errorf("reading header %s as %v: %w", string(h), reflect.TypeFor[V](), err))
	}
	return v, true, nil
}

// Put gives the delivery with the header set. A value that cannot be written as JSON is an error of
// the message when the delivery is made: the result of Process is refused with it.
func (h Header[V]) Put(d Delivery, v V) Delivery {
	s, err := writeValue(v)
	if err != nil {
		d.x = d.extra()
		d.x.err = Permanent(fmt.Errorf("writing header %s: %w", string(h), err))
		return d
	}
	return d.Set(string(h), s)
}

// readValue's errors do not quote s, as those of strconv and time do.
func readValue(s string, v any) (err error) {
	form := ""
	switch p := v.(type) {
	case *string:
		*p = s
	case *int:
		form = "not a number, or one too large"
		*p, err = strconv.Atoi(s)
	case *int64:
		form = "not a number, or one too large"
		*p, err = strconv.ParseInt(s, 10, 64)
	case *bool:
		form = "neither true nor false"
		*p, err = strconv.ParseBool(s)
	case *time.Duration:
		form = "not a duration such as 1m30s"
		*p, err = time.ParseDuration(s)
	case *time.Time:
		form = "not a time in RFC 3339"
		*p, err = time.Parse(time.RFC3339Nano, s)
	default:
		return JSON{}.Decode([]byte(s), v)
	}
	if err != nil {
		return &discreetError{form, err}
	}
	return nil
}

func writeValue(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	case time.Duration:
		return v.String(), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	}
	b, err := JSON{}.Encode(v)
	return string(b), err
}
