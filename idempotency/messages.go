package idempotency

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// MaxResult is how many bytes the messages that a producing handler returns for one message may have,
// encoded, under Receiver.Middleware: payloads, metadata and ids of all of them.
const MaxResult = 1 << 20

// format is the first byte of a stored result.
const format = 1

// ErrResult: a stored result cannot be read. Permanent: it was written by something else.
var ErrResult = channel.Permanent(errors.New("stored messages cannot be read"))

var errNilMessage = channel.Permanent(errors.New("handler returned a nil message"))

// encodeMessages writes messages as: format, count, then for each its UUID, payload and metadata in
// the order of their names. No messages are the empty text.
func encodeMessages(ms []*message.Message) (string, error) {
	if len(ms) == 0 {
		return "", nil
	}
	size := 0
	for _, m := range ms {
		if m == nil {
			return "", errNilMessage
		}
		size += len(m.UUID) + len(m.Payload)
		for k, v := range m.Metadata {
			size += len(k) + len(v)
		}
	}
	if size > MaxResult {
		return "", fmt.Errorf("%w: the %d messages that the handler returned have %d bytes, the limit of what can be stored is %d: return fewer, or publish in the handler",
			channel.ErrTooLarge, len(ms), size, MaxResult)
	}
	b := append(make([]byte, 0, size+16*len(ms)), format)
	b = binary.AppendUvarint(b, uint64(len(ms)))
	for _, m := range ms {
		b = appendText(b, m.UUID)
		if m.Payload == nil { // a tombstone is not an empty payload
			b = append(b, 0)
		} else {
			b = binary.AppendUvarint(b, uint64(len(m.Payload))+1)
			b = append(b, m.Payload...)
		}
		b = binary.AppendUvarint(b, uint64(len(m.Metadata)))
		for _, k := range slices.Sorted(maps.Keys(m.Metadata)) {
			b = appendText(appendText(b, k), m.Metadata[k])
		}
	}
	return string(b), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeMessages makes the messages anew.
func decodeMessages(s string) ([]*message.Message, error) {
	if s == "" {
		return nil, nil
	}
	r := reader{rest: s[1:], bad: s[0] != format}
	n := r.count()
	var ms []*message.Message
	for range n {
		id := r.text()
		var payload []byte
		if size := r.number(); size > 0 {
			payload = []byte(r.take(size - 1))
		}
		m := message.NewMessage(id, payload)
		for range r.count() {
			k := r.text()
			m.Metadata[k] = r.text()
		}
		if r.bad {
			break
		}
		ms = append(ms, m)
	}
	if r.bad || r.rest != "" || len(ms) == 0 {
		return nil, fmt.Errorf("%w: %d bytes, of another format or cut off", ErrResult, len(s))
	}
	return ms, nil
}

// A reader takes a stored result apart. After the first thing wrong it is bad and gives nothing.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) number() uint64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.rest, r.bad = "", true
	return 0
}

// count is a number of things that have at least a byte each: never more than there are bytes.
func (r *reader) count() uint64 {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.rest, r.bad = "", true
		return 0
	}
	return n
}

func (r *reader) take(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.rest, r.bad = "", true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) text() string { return r.take(r.number()) }
