package idempotency

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

func sample() []*message.Message {
	a := message.NewMessage("a", []byte("payload \x00\xff"))
	a.Metadata["name"], a.Metadata["other"], a.Metadata[""] = "value", "", "empty name"
	return []*message.Message{a, message.NewMessage("", []byte{}), message.NewMessage("tombstone", nil)}
}

func same(a, b []*message.Message) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].UUID != b[i].UUID || !bytes.Equal(a[i].Payload, b[i].Payload) || (a[i].Payload == nil) != (b[i].Payload == nil) || !maps.Equal(a[i].Metadata, b[i].Metadata) {
			return false
		}
	}
	return true
}

func TestStoredMessages(t *testing.T) {
	for _, ms := range [][]*message.Message{nil, sample()[:1], sample()} {
		s, err := encodeMessages(ms)
		if err != nil {
			t.Fatal(err)
		}
		again, err := encodeMessages(ms)
		if err != nil || again != s {
			t.Fatalf("the same messages are written in two ways, error %v", err)
		}
		got, err := decodeMessages(s)
		if err != nil || !same(got, ms) {
			t.Fatalf("%v came back of %v, error %v", got, ms, err)
		}
	}
}

func TestStoredMessagesThatAreCutOff(t *testing.T) {
	s, err := encodeMessages(sample())
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(s); i++ {
		if ms, err := decodeMessages(s[:i]); !errors.Is(err, ErrResult) || !channel.IsPermanent(err) {
			t.Fatalf("%d of %d bytes: %v, error %v; want ErrResult", i, len(s), ms, err)
		}
	}
	for _, bad := range []string{s + "x", "\x02" + s[1:], "\x01", "\x01\x00", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if ms, err := decodeMessages(bad); !errors.Is(err, ErrResult) {
			t.Fatalf("%.20q: %v, error %v; want ErrResult", bad, ms, err)
		}
	}
}

func TestStoredMessagesLimit(t *testing.T) {
	fits := message.NewMessage("1", make([]byte, MaxResult-1))
	if _, err := encodeMessages([]*message.Message{fits}); err != nil {
		t.Fatal(err)
	}
	_, err := encodeMessages([]*message.Message{fits, message.NewMessage("2", nil)})
	if !errors.Is(err, channel.ErrTooLarge) || !strings.Contains(err.Error(), "1048576") {
		t.Fatalf("error %v; want ErrTooLarge with the limit", err)
	}
	if _, err := encodeMessages([]*message.Message{nil}); !channel.IsPermanent(err) {
		t.Fatalf("error %v of a nil message; want a permanent one", err)
	}
}

// What a store gives back is never more in memory than a small multiple of its bytes, never panics, and
// if it can be read it is what would be written.
func FuzzStoredMessages(f *testing.F) {
	for _, ms := range [][]*message.Message{nil, sample()} {
		s, err := encodeMessages(ms)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	f.Add("\x01\x05")
	f.Add("\x01\x01\x01a\x00\xff\x01")
	f.Fuzz(func(t *testing.T, s string) {
		ms, err := decodeMessages(s)
		if err != nil {
			if !errors.Is(err, ErrResult) {
				t.Fatal(err)
			}
			return
		}
		out, err := encodeMessages(ms)
		if err != nil {
			if errors.Is(err, channel.ErrTooLarge) {
				return
			}
			t.Fatal(err)
		}
		again, err := decodeMessages(out)
		if err != nil || !same(ms, again) {
			t.Fatalf("%q is read as %v, and what that is written as %v, error %v", s, ms, again, err)
		}
	})
}
