package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A Codec writes and reads bodies: the Format Indicator's other half. Topics of type []byte never
// meet one. Implementations are safe for concurrent use.
type Codec interface {
	// Encode gives the bytes of a body. Nil without an error is refused with ErrEncode, for it would be
	// a tombstone: an empty payload is []byte{}.
	Encode(body any) ([]byte, error)
	// Decode reads payload into body, a pointer. It must not keep payload, nor quote it in its error,
	// which is logged and travels in headers.
	Decode(payload []byte, body any) error
	// ContentType is what HeaderContentType says of payloads of this codec.
	ContentType() string
}

// JSON is encoding/json. It is the codec of every flow that names no other.
type JSON struct{}

// Encode is json.Marshal. Its error wraps that of encoding/json and names types, but no value.
func (JSON) Encode(body any) ([]byte, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, unwritten(err)
	}
	return b, nil
}

// Decode is json.Unmarshal. Its error wraps that of encoding/json and names type, field and offset, but
// no value: what a payload says is not for logs.
func (JSON) Decode(payload []byte, body any) error {
	if err := json.Unmarshal(payload, body); err != nil {
		return discreetJSON(err)
	}
	return nil
}

// ContentType is "application/json".
func (JSON) ContentType() string { return "application/json" }

// Raw is the codec of bytes and strings: it writes them as they are and refuses everything else.
type Raw struct{}

var errNotBytes = errors.New("raw codec takes []byte and string only")

// Encode gives the bytes of a []byte or a string.
func (Raw) Encode(body any) ([]byte, error) {
	switch b := body.(type) {
	case []byte:
		return b, nil
	case string:
		return []byte(b), nil
	}
	return nil, fmt.Errorf("%w, not %T", errNotBytes, body)
}

// Decode copies payload into a *[]byte or a *string.
func (Raw) Decode(payload []byte, body any) error {
	switch p := body.(type) {
	case *[]byte:
		*p = append([]byte(nil), payload...)
	case *string:
		*p = string(payload)
	default:
		return fmt.Errorf("%w, not %T", errNotBytes, body)
	}
	return nil
}

// ContentType is "application/octet-stream".
func (Raw) ContentType() string { return "application/octet-stream" }

// Codecs chooses a codec: by the message's content type, else by topic, else Default. The zero value
// is JSON for everything. It is read-only once in use.
type Codecs struct {
	Default Codec            // nil: JSON
	Topics  map[string]Codec // by logical topic
	Types   map[string]Codec // by content type
}

// For gives the codec of a message on topic that says contentType ("": nothing).
func (c *Codecs) For(topic, contentType string) Codec {
	if c == nil {
		return JSON{}
	}
	if contentType != "" {
		if x, ok := c.Types[contentType]; ok {
			return x
		}
	}
	if x, ok := c.Topics[topic]; ok {
		return x
	}
	if c.Default != nil {
		return c.Default
	}
	return JSON{}
}

// discreetJSON gives an error of encoding/json a text that quotes nothing of what was read: "number 42"
// is a number, and what a type's own UnmarshalJSON says (time.Time quotes its input) is not repeated.
func discreetJSON(err error) error {
	text := fmt.Sprintf("a JSON value was refused with a %T", err)
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		text = fmt.Sprintf("no JSON, or cut short, at byte %d", s.Offset)
	} else if u, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		kind, _, _ := strings.Cut(u.Value, " ")
		text = fmt.Sprintf("JSON %s at byte %d does not fit %v", kind, u.Offset, u.Type)
		if u.Field != "" {
			text += " of field " + u.Field
		}
	}
	return &discreetError{text, err}
}

// unwritten gives an error of json.Marshal a text that quotes nothing of what was written: a bad
// json.Number stands in it whole, and a type's own MarshalJSON may say what it likes.
func unwritten(err error) error {
	switch e := err.(type) { //nolint:errorlint // What is wrapped below is a type's own.
	case *json.UnsupportedTypeError, *json.UnsupportedValueError: // a type, or one of NaN and infinity
		return err
	case *json.MarshalerError:
		return &discreetError{fmt.Sprintf("type %v refused to be written as JSON with a %T", e.Type, e.Err), err}
	}
	return &discreetError{fmt.Sprintf("a value refused to be written as JSON with a %T", err), err}
}

// A discreetError has a text of its own; what it wraps may quote a message and is for matching alone.
type discreetError struct {
	text string
	err  error
}

func (d *discreetError) Error() string { return d.text }
func (d *discreetError) Unwrap() error { return d.err }
