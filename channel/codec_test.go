package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCodecsFor(t *testing.T) {
	full := &Codecs{Default: tagged("d"), Topics: map[string]Codec{"t": tagged("t")}, Types: map[string]Codec{"text/x": tagged("x")}}
	for _, c := range []struct {
		codecs             *Codecs
		topic, contentType string
		want               Codec
	}{
		{nil, "t", "text/x", JSON{}},
		{&Codecs{}, "t", "text/x", JSON{}},
		{full, "t", "text/x", tagged("x")},
		{full, "t", "text/y", tagged("t")},
		{full, "t", "", tagged("t")},
		{full, "u", "", tagged("d")},
		{full, "u", "text/x", tagged("x")},
	} {
		if got := c.codecs.For(c.topic, c.contentType); got != c.want {
			t.Errorf("for %q that says %q: %v, want %v", c.topic, c.contentType, got, c.want)
		}
	}
}

func TestRaw(t *testing.T) {
	for _, body := range []any{[]byte("x\x00"), "x\x00"} {
		if b, err := (Raw{}).Encode(body); string(b) != "x\x00" || err != nil {
			t.Errorf("%T: %q, %v", body, b, err)
		}
	}
	if b, err := (Raw{}).Encode(""); b == nil || err != nil {
		t.Errorf("an empty string: nil %t, %v", b == nil, err)
	}
	payload := []byte("abc")
	var b []byte
	var s string
	if err := errors.Join(Raw{}.Decode(payload, &b), Raw{}.Decode(payload, &s)); err != nil {
		t.Fatal(err)
	}
	if payload[0] = 'x'; string(b) != "abc" || s != "abc" {
		t.Errorf("%q, %q: kept the payload", b, s)
	}
	_, err := Raw{}.Encode(1)
	if derr := (Raw{}).Decode(payload, new(int)); !errors.Is(err, errNotBytes) || !errors.Is(derr, errNotBytes) {
		t.Errorf("%v; %v", err, derr)
	}
	if (Raw{}).ContentType() != "application/octet-stream" || (JSON{}).ContentType() != "application/json" {
		t.Error("content types")
	}
}

// decodeErr is what a block's message comes to.
func decodeErr[T any](payload string) error {
	e := arrived(Arrival{ID: "1", Topic: "orders", Payload: []byte(payload)})
	var r Result
	return Erase[T](blockFunc[T](func(Message[T]) (Result, error) { return Done(), nil }))(e, &r)
}

type refuser struct{}

func (*refuser) UnmarshalJSON(b []byte) error { return fmt.Errorf("%w: %s", ErrInvalid, b) }

// Errors say which topic, type, field and place, and nothing of what the payload says: they are logged
// and become headers of dead letters.
func TestDecodeErrorsAreDiscreet(t *testing.T) {
	type wide struct {
		N int8              `json:"n"`
		S string            `json:"s"`
		Q int               `json:"q,string"`
		T time.Time         `json:"t"`
		J json.Number       `json:"j"`
		M map[int]int       `json:"m"`
		B []byte            `json:"b"`
		A netip.Addr        `json:"a"`
		I *big.Int          `json:"i"`
		F float32           `json:"f"`
		L []struct{ X int } `json:"l"`
		R refuser           `json:"r"`
	}
	const number = "918273645"
	for _, c := range []struct{ payload, want string }{
		{`{"n":` + number + `}`, "JSON number at byte 14 does not fit int8 of field n"},
		{`{"s":` + number + `}`, "JSON number at byte 14 does not fit string of field s"},
		{`{"n":"` + canary + `"}`, "JSON string at byte 19 does not fit int8 of field n"},
		{`{"q":"` + canary + `"}`, "a JSON value was refused with a *errors.errorString"},
		{`{"t":"` + canary + `"}`, "a JSON value was refused with a *time.ParseError"},
		{`{"j":"` + canary + `"}`, "a JSON value was refused with a *errors.errorString"},
		{`{"m":{"` + canary + `":1}}`, "JSON number at byte"},
		{`{"b":"` + canary + `!"}`, "a JSON value was refused with a base64.CorruptInputError"},
		{`{"a":"` + canary + `"}`, "a JSON value was refused with a netip.parseAddrError"},
		{`{"i":"` + canary + `"}`, "a JSON value was refused with a *errors.errorString"},
		{`{"f":1e` + number + `}`, "JSON number at byte 16 does not fit float32 of field f"},
		{`{"l":[{"X":"` + canary + `"}]}`, "does not fit int of field l.X"},
		{`{"r":"` + canary + `"}`, "a JSON value was refused with a *fmt.wrapError"},
		{`{"n":` + canary + `}`, "no JSON, or cut short, at byte 6"},
		{canary, "no JSON, or cut short, at byte 1"},
		{`{"s":"` + canary, "no JSON, or cut short, at byte 18"},
		{``, "no JSON, or cut short, at byte 0"},
	} {
		err := decodeErr[wide](c.payload)
		prefix := fmt.Sprintf("decoding channel.wide from topic orders (%d bytes): payload cannot be decoded: ", len(c.payload))
		if !errors.Is(err, ErrDecode) || !IsPermanent(err) {
			t.Errorf("%s: %v", c.payload, err)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, prefix) || !strings.Contains(text, c.want) {
			t.Errorf("%s:\n%v, want\n%s%s", c.payload, err, prefix, c.want)
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), Reason(err)} {
			if strings.Contains(text, canary) || strings.Contains(text, number) {
				t.Errorf("%s is quoted: %s", c.payload, text)
			}
		}
	}
	if err := decodeErr[refuser]("1"); !errors.Is(err, ErrInvalid) {
		t.Errorf("what UnmarshalJSON gave cannot be matched: %v", err)
	}
	if err := decodeErr[int]("true"); err != nil {
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			t.Errorf("what encoding/json gave cannot be matched: %v", err)
		}
	}
}

// Whatever comes in, a message is decoded as encoding/json does, or refused without quoting it.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"n":1,"s":"x"}`, `{"n":"`, `null`, ``, `[`, `{"t":"`, "\xff", `{"n":1e99,"s":`} {
		f.Add([]byte(s))
	}
	type body struct {
		item
		T time.Time    `json:"t"`
		M map[int]int8 `json:"m"`
		Q *int         `json:"q,string"`
		J json.Number  `json:"j"`
		L []*body      `json:"l"`
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, payload := range [][]byte{payload, append(slices.Clip(payload), canary...), append([]byte(`{"n":1,"t":"`+canary+`","x":`), payload...)} {
			err := decodeErr[body](string(payload))
			var want body
			if (err == nil) != (json.Unmarshal(payload, &want) == nil) {
				t.Fatalf("%q: %v", payload, err)
			}
			if err != nil && (!errors.Is(err, ErrDecode) || strings.Contains(fmt.Sprintf("%v %+v", err, err), canary)) {
				t.Fatalf("%q: %v", payload, err)
			}
		}
	})
}
