package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func line(event, delivery, payload string) []byte {
	return fmt.Appendf(nil, `{"event":%q,"delivery":%q,"payload":%s}`, event, delivery, payload)
}

func TestParseReadsEvent(t *testing.T) {
	const payload = `{"action":"opened","issue":{"number":3,"title":"The gate sticks"},"repository":{"full_name":"mill/gate"}}`
	e, err := Parse(append(line("issues", "d-1", payload), "\r\n"...))
	if err != nil {
		t.Fatal(err)
	}
	if e.Event != "issues" || e.Delivery != "d-1" || string(e.Payload) != payload || !e.Expires.IsZero() {
		t.Fatalf("got %+v", e)
	}
	if e.Family() != Issues || !In(Issues)(e) || In(Code)(e) || !Relevant(e) || Relevant(Event{Event: "ping"}) {
		t.Fatal("family or relevance is wrong")
	}
	e, err = Parse([]byte(`{"event":"public","delivery":"d","expires":"2020-01-02T03:04:05Z","payload":{}}`))
	if err != nil || !e.Expires.Equal(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Fatalf("expires %v, error %v", e.Expires, err)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	deep := strings.Repeat("[", 20_000)
	for _, c := range []struct {
		name, line string
		reason     Reason
		detail     string
	}{
		{"empty", "", Empty, ""},
		{"blank", " \t\r\n", Empty, ""},
		{"no JSON", "hello", NotJSON, "byte 1"},
		{"cut off", `{"event":"push"`, NotJSON, "unexpected end"},
		{"two values", `{} {}`, NotJSON, "after top-level value"},
		{"NUL", "{\"event\":\"a\x00\"}", NotJSON, "invalid character"},
		{"deep", string(line("push", "d", deep)), NotJSON, "depth"},
		{"number", `42`, WrongShape, "line is a number, want an object"},
		{"null", `null`, WrongShape, "not an object"},
		{"array", `[]`, WrongShape, "line is an array"},
		{"event is no text", `{"event":7}`, WrongShape, "event is a number"},
		{"no event", `{"delivery":"d","payload":{}}`, NoEvent, ""},
		{"unknown event", string(line("flood", "d", "{}")), UnknownEvent, `"flood"`},
		{"family's name", string(line("code", "d", "{}")), UnknownEvent, `"code"`},
		{"no delivery", `{"event":"push","payload":{"ref":"x"}}`, NoDelivery, ""},
		{"long delivery", string(line("public", strings.Repeat("d", 257), "{}")), BadDelivery, "257 bytes"},
		{"blank in delivery", string(line("public", "a b", "{}")), BadDelivery, "byte 1"},
		{"expires is no time", `{"event":"public","delivery":"d","expires":"soon","payload":{}}`, WrongShape, "soon"},
		{"expires is a number", `{"event":"public","delivery":"d","expires":12,"payload":{}}`, WrongShape, "line"},
		{"no payload", `{"event":"push","delivery":"d"}`, WrongShape, "payload of push is missing"},
		{"null payload", string(line("push", "d", "null")), WrongShape, "payload of push is missing"},
		{"payload is a list", string(line("push", "d", "[1]")), WrongShape, "payload is an array"},
		{"payload is text", string(line("push", "d", `"x"`)), WrongShape, "payload is a string"},
		{"push without ref", string(line("push", "d", "{}")), WrongShape, "no ref"},
		{"create without type", string(line("create", "d", `{"ref":"x"}`)), WrongShape, "ref_type"},
		{"issue missing", string(line("issues", "d", "{}")), WrongShape, "payload of issues has no issue"},
		{"issue is null", string(line("issues", "d", `{"issue":null}`)), WrongShape, "no issue"},
		{"issue is text", string(line("issues", "d", `{"issue":"x"}`)), WrongShape, "payload.issue is a string, want an object"},
		{"number is text", string(line("issues", "d", `{"issue":{"number":"x"}}`)), WrongShape, "payload.issue.number is a string, want a whole number"},
		{"number is huge", string(line("issues", "d", `{"issue":{"number":1e999}}`)), WrongShape, "payload.issue.number"},
		{"number has a million digits", string(line("issues", "d", `{"issue":{"number":`+strings.Repeat("9", 1_000_000)+`}}`)), WrongShape, "payload.issue.number"},
		{"commits are no list", string(line("push", "d", `{"ref":"x","commits":{}}`)), WrongShape, "payload.commits is an object, want an array"},
		{"commit is no object", string(line("push", "d", `{"ref":"x","commits":[1]}`)), WrongShape, "payload.commits"},
		{"fork without name", string(line("fork", "d", `{"forkee":{}}`)), WrongShape, "forkee has no full_name"},
		{"repository without name", string(line("watch", "d", `{"repository":{}}`)), WrongShape, "payload.repository.full_name is missing"},
		{"organization without login", string(line("team", "d", `{"team":{},"organization":{}}`)), WrongShape, "payload.organization.login is missing"},
		{"enterprise without slug", string(line("watch", "d", `{"enterprise":{}}`)), WrongShape, "payload.enterprise.slug is missing"},
		{"sender without login", string(line("watch", "d", `{"sender":{}}`)), WrongShape, "payload.sender.login is missing"},
		{"endless name", string(line("watch", "d", `{"repository":{"full_name":"`+strings.Repeat("x", 257)+`"}}`)), WrongShape, "257 bytes"},
		{"too large", string(Oversize{Size: 2_000_000, SHA256: "ab12", Head: "{\"event"}.Line()), TooLarge, "2000000 bytes, sha256 ab12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.line))
			if !errors.Is(err, ErrInvalid) || ReasonOf(err) != c.reason {
				t.Fatalf("reason %q of %v, want %q", ReasonOf(err), err, c.reason)
			}
			if !strings.Contains(err.Error(), c.detail) || !strings.Contains(err.Error(), string(c.reason)) {
				t.Fatalf("%q does not say %q", err, c.detail)
			}
			if n := len(err.Error()); n > 400 || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("error is %d bytes or more than a line: %q", n, err)
			}
		})
	}
}

func TestInvalidKeepsTheDecodersError(t *testing.T) {
	_, err := Parse([]byte("{"))
	if _, ok := errors.AsType[*json.SyntaxError](err); !ok {
		t.Fatalf("no syntax error in %v", err)
	}
	if ReasonOf(errors.New("x")) != "" {
		t.Fatal("a reason for an error that has none")
	}
}

func TestEventSurvivesABroker(t *testing.T) {
	e, err := Parse(line("push", "d", `{"ref":"refs/heads/main","commits":[{"id":"a"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Event
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	one, err1 := Translate(e)
	two, err2 := Translate(back)
	if err1 != nil || err2 != nil || !reflect.DeepEqual(one, two) {
		t.Fatalf("in process %+v %v, over a broker %+v %v", one, err1, two, err2)
	}
}

func TestFactsAreOfOneEventType(t *testing.T) {
	e, err := Parse(line("public", "d", "{}"))
	if err != nil {
		t.Fatal(err)
	}
	e.Event = "page_build" // somebody changes a value; what was decoded for another type is not used
	if _, err := Translate(e); ReasonOf(err) != WrongShape {
		t.Fatalf("got %v", err)
	}
	e.Event = "nothing"
	if _, err := Translate(e); ReasonOf(err) != UnknownEvent {
		t.Fatalf("got %v", err)
	}
	if err := e.Validate(); ReasonOf(err) != UnknownEvent {
		t.Fatalf("got %v", err)
	}
}

func TestRepeatedIsAnotherDelivery(t *testing.T) {
	one := line("public", "d", "{}")
	for _, end := range []string{"", "\n", " \r\n"} {
		in := append(bytes.Clone(one), end...)
		e, err := Parse(Repeated(in, 17))
		if err != nil || e.Delivery != "d-17" {
			t.Fatalf("delivery %q, error %v", e.Delivery, err)
		}
		if !bytes.Equal(in, append(bytes.Clone(one), end...)) {
			t.Fatalf("the line itself was changed: %s", in)
		}
	}
	for _, bad := range []string{"", "{}", "{ }", "[]", "null", "}{", "{", "}", "x}", `{"event":"push"`} {
		_, before := Parse([]byte(bad))
		_, after := Parse(Repeated([]byte(bad), 2))
		if before == nil || ReasonOf(before) != ReasonOf(after) {
			t.Fatalf("%q: %v, repeated %v", bad, before, after)
		}
	}
}

// FuzzParse: whatever comes in, the answer is an Invalid error or an event that becomes a whole
// activity, parts and digest, all of which can be written as JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"event":"push","delivery":"d","payload":{"ref":"r","head_commit":{"timestamp":"9999-12-31T23:59:59-01:00"},"commits":[{"id":"a\u0000","added":["x.go"]},{}]}}`))
	f.Add([]byte(`{"event":"page_build","delivery":"d","payload":{"build":{},"repository":{"full_name":"a/b"}}}`))
	f.Add([]byte(`{"event":"status","delivery":"d","payload":{"state":"error","created_at":-1e9}}`))
	f.Add([]byte(`{"event":"workflow_dispatch","delivery":"d","payload":{"workflow":[[]]}}`))
	f.Add([]byte(`{"event":"team","delivery":"d","payload":{"team":{},"sender":{"login":"a"}},"repeat":3}`))
	f.Add([]byte("{\"event\":\"gollum\",\"delivery\":\"d\",\"payload\":{\"pages\":[{\"title\":\"\xff\"}]}}"))
	f.Add([]byte(`{"too_large":{}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := Parse(in)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || ReasonOf(err) == "" {
				t.Fatalf("not an Invalid error: %v", err)
			}
			return
		}
		a, err := Translate(e)
		if err != nil {
			t.Fatalf("parsed, not translated: %v", err)
		}
		if a.Group == "" || a.Title == "" || a.Family == "" || !a.IsEvent || len(a.Title) > maxTitle {
			t.Fatalf("not whole: %+v", a)
		}
		parts := Split(a)
		for i := range parts {
			parts[i] = Enrich(parts[i])
		}
		d, err := Combine(a.Group, parts)
		if err != nil || d.Events != 1 || d.Commits != len(a.Commits) {
			t.Fatalf("digest %+v, error %v", d, err)
		}
		for _, v := range []any{e, a, d} {
			if _, err := json.Marshal(v); err != nil {
				t.Fatalf("writing %T: %v", v, err)
			}
		}
	})
}
