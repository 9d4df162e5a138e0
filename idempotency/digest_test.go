package idempotency

import (
	"context"
	"errors"
	"testing"

	"github.com/leat-go/leat/channel"
)

type order struct{ ID string }

type countingCodec struct {
	channel.JSON

	encoded int
}

func (c *countingCodec) Encode(body any) ([]byte, error) {
	c.encoded++
	return c.JSON.Encode(body)
}

func TestDigestOfEnvelope(t *testing.T) {
	payload := []byte(`{"ID":"7"}`)
	read := func(e *channel.Envelope) { // what a typed block does
		body := channel.Erase(reader7{t})
		var r channel.Result
		if err := body(e, &r); err != nil {
			t.Fatal(err)
		}
	}
	codec := &countingCodec{}
	for _, x := range []struct {
		name    string
		arrival channel.Arrival
		attempt int
		read    bool
		want    Digest
	}{
		{"bytes", channel.Arrival{Payload: payload}, 1, false, Sum(payload)},
		{"bytes with a key and headers", channel.Arrival{Payload: payload, Key: "k", Headers: channel.Fields{{Name: "a", Value: "b"}}}, 1, false, Sum(payload)},
		{"bytes that were decoded", channel.Arrival{Payload: payload}, 1, true, Sum(payload)},
		{"bytes that were decoded, second attempt", channel.Arrival{Payload: payload}, 2, true, Sum(payload)},
		{"no bytes, empty", channel.Arrival{Payload: []byte{}}, 1, false, Sum([]byte{})},
		{"tombstone", channel.Arrival{Key: "k"}, 1, false, Sum(nil)},
		{"body of bytes", channel.Arrival{Body: payload, HasBody: true}, 1, false, Sum(payload)},
		{"body of no bytes", channel.Arrival{Body: []byte(nil), HasBody: true}, 1, false, Sum([]byte{})},
		{"body", channel.Arrival{Body: order{"7"}, HasBody: true, Key: "k"}, 1, false, Digest{}},
		{"body, second attempt", channel.Arrival{Body: order{"7"}, HasBody: true, Key: "k"}, 2, true, Digest{}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var e channel.Envelope
			x.arrival.Context, x.arrival.Scope, x.arrival.ID, x.arrival.Topic = context.Background(), "f/s", "1", "orders"
			x.arrival.Codecs = &channel.Codecs{Default: codec}
			e.Arrive(&x.arrival)
			e.SetAttempt(x.attempt)
			if x.read {
				read(&e)
			}
			if got := digest(&e); got != x.want {
				t.Fatalf("digest %x; want %x", got, x.want)
			}
		})
	}
	if codec.encoded != 0 {
		t.Fatalf("%d bodies were encoded", codec.encoded)
	}
}

type reader7 struct{ t *testing.T }

func (r reader7) Process(m channel.Message[order]) (channel.Result, error) {
	if m.Body.ID != "7" {
		return channel.Result{}, errors.New("not decoded")
	}
	return channel.Done(), nil
}

func (reader7) Shape() channel.Shape { return channel.Shape{} }

func TestSum(t *testing.T) {
	if Sum(nil) == Sum([]byte{}) || Sum(nil) == (Digest{}) || Sum([]byte{}) == (Digest{}) {
		t.Fatal("a tombstone, an empty payload and no digest are not told apart")
	}
	if Sum([]byte("a")) == Sum([]byte("b")) {
		t.Fatal("two payloads have one digest")
	}
}
