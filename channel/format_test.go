package channel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

type safe struct{ Secret string }

// Breaks if printing or logging a message shows what is in it.
func TestMessagesPrintNothingOfWhatIsInThem(t *testing.T) {
	const secret = "s3cr3t"
	bytesOf := strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")
	e := arrived(Arrival{Topic: "orders", ID: "17", Key: secret, Headers: Fields{{"x", secret}}, Payload: []byte(secret)})
	m := NewMessage("17", safe{secret}, "x", secret, HeaderKey, secret)
	d := To[safe]("orders.eu", safe{secret}).Key(secret).Set("x", secret)
	tick := arrived(Arrival{ID: "flow/step/" + secret, Key: secret, Tick: true})
	for want, v := range map[string]any{
		`message "17"`:                                  m,
		`message "17" on topic "orders"`:                e,
		`entry "17" on topic "orders"`:                  e.Entry(),
		`entry "18"`:                                    NewEntry("18", secret, Fields{{"x", secret}}, []byte(secret)),
		`delivery of channel.safe to topic "orders.eu"`: d,
		`sent, 2 deliveries`:                            Send(d, d),
		`arrival "17"`:                                  Arrival{ID: "17", Key: secret, Payload: []byte(secret), Body: safe{secret}},
		`due key of "flow/step"`:                        tick,
		`no message`:                                    Message[safe]{},
		`message "a\r\nb\x00\xff" on topic "orders"`:    arrived(Arrival{Topic: "orders", ID: "a\r\nb\x00\xff"}),
		`delivery of <nil> to topic ""`:                 Delivery{},
		`dropped, 0 deliveries`:                         Drop(secret),
		`{entry "19" [entry "20"] {delivery of <nil> to topic ""}}`: struct {
			E Entry
			S []Entry
			D struct{ Delivery Delivery }
		}{NewEntry("19", "", nil, []byte(secret)), []Entry{NewEntry("20", "", nil, []byte(secret))}, struct{ Delivery Delivery }{}},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, secret) || strings.Contains(got, bytesOf) || verb == "%v" && got != want {
				t.Errorf("%s of a %T is %s; want %s", verb, v, got, want)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		if strings.Contains(log.String(), secret) {
			t.Errorf("logging a %T gives %s", v, log.String())
		}
	}
}

type stubborn struct{}

func (stubborn) MarshalJSON() ([]byte, error) { return nil, errors.New("I hold s3cr3t") }

// Breaks if the error of a body that cannot be written quotes it.
func TestAnEncodeErrorQuotesNoValue(t *testing.T) {
	for _, v := range []any{
		json.Number("s3cr3t"), map[string]any{"s3cr3t": func() {}}, stubborn{}, map[string]any{"s3cr3t": json.RawMessage("s3cr3t")},
	} {
		_, err := JSON{}.Encode(v)
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("encoding a %T: %v", v, err)
		}
		d := Header[any]("x").Put(To[string]("t", ""), v)
		if err := d.Err(); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("writing a %T as a header: %v", v, err)
		}
	}
}
