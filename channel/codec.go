package channel

import (
	"encoding/json"
	"errors"
	"fmt"
)

// A Codec writes and reads bodies: the Format Indicator's other half. Topics of type []byte never
// meet one. Implementations are safe for concurrent use.
type Codec interface {
	Encode(body any) ([]byte, error)
	// Decode reads payload into body, a pointer. It must not keep payload.
	Decode(payload []byte, body any) error
	// ContentType is what HeaderContentType says of payloads of this codec.
	ContentType() string
}

// JSON is encoding/json. It is the codec of every flow that names no other.
type JSON struct{}

// Encode is json.Marshal.
func (JSON) Encode(body any) ([]byte, error) {
	return json.Marshal(body) //nolint:wrapcheck // The envelope names topic and type.
}

// Decode is json.Unmarshal.
func (JSON) Decode(payload []byte, body any) error {
	return json.Unmarshal(payload, body) //nolint:wrapcheck // The envelope names topic and type.
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
