// Package letter has what dead letters have in common, a flow's and a plain subscription's: how one that cannot be a copy becomes a
// notice.
package letter

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// The headers that a notice is known by, and one that the least does without; see package flow.
const (
	Prefix = "leat-dead-"

	Stack  = Prefix + "stack"
	Size   = Prefix + "size"
	SHA256 = Prefix + "sha256"
)

const (
	// Bytes of a payload, or of a key, are what a notice keeps.
	Bytes = 4 << 10
	// line is how many bytes of a header the least notice keeps.
	line = 256
)

// Mark makes a dead letter a notice: it says how long the payload was, and its sum.
func Mark(o *adapters.Outgoing) {
	if o.Headers.Get(Size) != "" {
		return
	}
	o.Headers = append(o.Headers, channel.Field{Name: Size, Value: strconv.Itoa(len(o.Payload))}, channel.Field{Name: SHA256, Value: sum(o.Payload)})
	if o.Payload == nil { // nobody may take it for a tombstone
		o.Payload = []byte{}
	}
}

// Shrink makes a dead letter a notice that has the first bytes, the headers about the failure, and the key, unless it is
// longer than that. One that is so short, and is refused even so, becomes the least: no bytes, no key, the sum of a long id,
// and the first bytes of each header. It reports whether anything became less.
func Shrink(o *adapters.Outgoing) bool {
	if o.Headers.Get(Size) != "" && len(o.Payload) <= Bytes {
		return least(o)
	}
	Mark(o)
	o.Headers = slices.DeleteFunc(slices.Clone(o.Headers), func(f channel.Field) bool { return !strings.HasPrefix(f.Name, Prefix) })
	o.Payload = o.Payload[:min(len(o.Payload), Bytes)]
	if len(o.Key) > Bytes { // a shorter one would be another's
		o.Key = ""
	}
	return true
}

func least(o *adapters.Outgoing) (less bool) {
	fs := make(channel.Fields, 0, len(o.Headers))
	for _, f := range o.Headers {
		if !strings.HasPrefix(f.Name, Prefix) || f.Name == Stack {
			continue
		}
		if len(f.Value) > line {
			f.Value = strings.ToValidUTF8(f.Value[:line], "")
			less = true
		}
		fs = append(fs, f)
	}
	less = less || len(fs) < len(o.Headers) || len(o.Payload) > 0 || o.Key != ""
	o.Headers, o.Payload, o.Key = fs, []byte{}, ""
	if len(o.ID) > 2*sha256.Size {
		o.ID = sum([]byte(o.ID))
		less = true
	}
	return less
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
