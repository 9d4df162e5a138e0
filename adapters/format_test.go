package adapters_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// Breaks if printing or logging a record shows what is in it.
func TestRecordsPrintNothingOfWhatIsInThem(t *testing.T) {
	const secret = "s3cr3t"
	headers := channel.Fields{{Name: "x", Value: secret}}
	bytesOf := strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]")
	in := adapters.Record{ID: "1\n7", Key: secret, Headers: headers, Payload: []byte(secret)}
	out := adapters.Outgoing{ID: "17", Topic: "orders", Key: secret, Headers: headers, Payload: []byte(secret), Err: adapters.ErrFull}
	for want, v := range map[string]any{
		`record "1\n7"`:   in,
		`[record "1\n7"]`: []*adapters.Record{&in},
		`message "17" for topic "orders": topic is full`:   &out,
		`{message "17" for topic "orders": topic is full}`: struct{ O adapters.Outgoing }{out},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, secret) || strings.Contains(got, bytesOf) || verb == "%v" && got != want {
				t.Errorf("%s of a %T is %s; want %s", verb, v, got, want)
			}
		}
	}
	var log bytes.Buffer
	for _, l := range []*slog.Logger{slog.New(slog.NewJSONHandler(&log, nil)), slog.New(slog.NewTextHandler(&log, nil))} {
		l.Info("x", "in", in, "out", out, "pointer", &out)
	}
	if strings.Contains(log.String(), secret) || strings.Count(log.String(), "topic is full") != 4 {
		t.Errorf("logging records gives %s", log.String())
	}
}
