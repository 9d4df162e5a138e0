package channel

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestInvalidChannel(t *testing.T) {
	errMine := errors.New("mine")
	decode := fmt.Errorf("decoding: %w", ErrDecode)
	mine := func(err error) bool { return errors.Is(err, errMine) }
	for _, c := range []struct {
		name   string
		x      InvalidChannel
		err    error
		tick   bool
		caught bool
	}{
		{"no error", InvalidChannel{To: "invalid"}, nil, false, false},
		{"cannot be read", InvalidChannel{To: "invalid"}, decode, false, true},
		{"makes no sense", InvalidChannel{To: "invalid"}, ErrInvalid, false, true},
		{"another error", InvalidChannel{To: "invalid"}, errMine, false, false},
		{"by When", InvalidChannel{To: "invalid", When: mine}, errMine, false, true},
		{"not by When", InvalidChannel{To: "invalid", When: mine}, decode, false, false},
		{"a tick", InvalidChannel{To: "invalid"}, ErrInvalid, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := arrived(Arrival{ID: "1", Key: "k", Payload: []byte("{broken"), Headers: Fields{{"tenant", "a"}, {HeaderContentType, "x/y"}}, Tick: c.tick})
			r, exit, err := c.x.Enter(e)
			if r.Outcome() != Unsaid || err != nil || exit == nil {
				t.Fatalf("on the way in: %v, %v", r.Outcome(), err)
			}
			r, err = exit(Done(), c.err)
			if !c.caught {
				if !errors.Is(err, c.err) || r.Outcome() != Finished || r.Len() != 0 {
					t.Fatalf("%v, %d deliveries, %v", r.Outcome(), r.Len(), err)
				}
				return
			}
			if err != nil || r.Outcome() != Invalid || r.Len() != 1 {
				t.Fatalf("%v, %d deliveries, %v", r.Outcome(), r.Len(), err)
			}
			out := followed(e, *r.At(0), 0)
			fs := out.Fields()
			if string(mustPayload(t, out)) != "{broken" || out.Key() != "k" || out.Topic() != "invalid" ||
				fs.Get(HeaderReason) != c.err.Error() || fs.Get(HeaderOriginal) != "1" || fs.Get("tenant") != "a" || fs.Get(HeaderContentType) != "x/y" {
				t.Errorf("to %s under %q: %v", out.Topic(), out.Key(), fs)
			}
			if next := followed(out, ForwardRaw("archive", out), 0); next.Fields().Get(HeaderReason) != "" {
				t.Error("what follows from an invalid message has its reason")
			}
		})
	}
}

func TestInvalidChannelShape(t *testing.T) {
	if s := (InvalidChannel{To: "invalid"}).Shape(); s.Err != nil || len(s.Outlets) != 1 || s.Outlets[0].Topic != "invalid" || s.Pattern != "Invalid Message Channel" {
		t.Errorf("%+v", s)
	}
	if s := (InvalidChannel{}).Shape(); s.Err == nil || !strings.Contains(s.Err.Error(), "InvalidChannel.To is empty") {
		t.Errorf("%v", s.Err)
	}
}

func checkReason(t *testing.T, text string) {
	t.Helper()
	got := Reason(errors.New(text))
	if len(got) > 1024 || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
		t.Fatalf("%q gives %q", text, got)
	}
	if n := utf8.RuneCountInString(text); len(text) <= 1024 && utf8.RuneCountInString(got) != n {
		t.Fatalf("%q lost characters: %q", text, got)
	} else if len(text) > 4096 && len(got) < 1020 {
		t.Fatalf("%d bytes are left of %d", len(got), len(text))
	}
}

var reasons = []string{"", "plain", "two\nlines\r\n\tand a tab", "\x00\x1b[31m", "ä\u2028\u0085\ufffd", "\xff\xfe", strings.Repeat("long ", 1000), strings.Repeat("€", 2000)}

func TestReason(t *testing.T) {
	for _, text := range reasons {
		checkReason(t, text)
	}
	if got := Reason(errors.New(strings.Repeat("x", 1025))); len(got) != 1024 {
		t.Errorf("%d bytes, want 1024", len(got))
	}
	if got := Reason(errors.New("two\nlines: \xffä")); got != "two lines:  ä" {
		t.Errorf("%q", got)
	}
}

func FuzzReason(f *testing.F) {
	for _, text := range reasons {
		f.Add(text)
	}
	f.Fuzz(checkReason)
}
