package channel

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

const canary = "s3cr3tc4n4ry"

// putGet writes a header and reads it back from what follows.
func putGet[V any](t *testing.T, v V, text string, same func(a, b V) bool) {
	t.Helper()
	h := Header[V]("h")
	root := arrived(Arrival{ID: "1", Payload: []byte("1")})
	d := h.Put(To(Topic[int]("out"), 1), v)
	if d.Err() != nil || d.Get("h") != text {
		t.Fatalf("%T %v is written as %q, %v; want %q", v, v, d.Get("h"), d.Err(), text)
	}
	got, ok, err := h.Get(followed(root, d, 0))
	if err != nil || ok != (text != "") || !same(got, v) {
		t.Fatalf("%T %v is read as %v, %t, %v", v, v, got, ok, err)
	}
}

func equal[V comparable](a, b V) bool { return a == b }

func TestHeader(t *testing.T) {
	type named string
	putGet(t, "a b\nä", "a b\nä", equal)
	putGet(t, "", "", equal)
	putGet(t, 0, "0", equal)
	putGet(t, math.MinInt, strconv.Itoa(math.MinInt), equal)
	putGet(t, int64(math.MaxInt64), "9223372036854775807", equal)
	putGet(t, true, "true", equal)
	putGet(t, false, "false", equal)
	putGet(t, 90*time.Second, "1m30s", equal)
	putGet(t, 1.5, "1.5", equal)
	putGet(t, named("x"), `"x"`, equal)
	putGet(t, uint8(7), "7", equal)
	putGet(t, item{1, "x"}, `{"n":1,"s":"x"}`, equal)
	putGet(t, map[string]int{"a": 1}, `{"a":1}`, maps.Equal)
	putGet(t, time.Date(2024, 2, 29, 1, 2, 3, 456, time.UTC), "2024-02-29T01:02:03.000000456Z", time.Time.Equal)
}

func TestHeaderErrors(t *testing.T) {
	type record struct{ N int }
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"int", unreadable[int](canary), "reading header h as int: not a number, or one too large"},
		{"int too large", unreadable[int]("99999999999999999999"), "reading header h as int: not a number, or one too large"},
		{"int64", unreadable[int64](canary), "reading header h as int64: not a number, or one too large"},
		{"bool", unreadable[bool](canary), "reading header h as bool: neither true nor false"},
		{"duration", unreadable[time.Duration](canary), "reading header h as time.Duration: not a duration such as 1m30s"},
		{"time", unreadable[time.Time](canary), "reading header h as time.Time: not a time in RFC 3339"},
		{"float", unreadable[float64](canary), "reading header h as float64: no JSON, or cut short, at byte 1"},
		{"record", unreadable[record](`{"N":"` + canary + `"}`), "reading header h as channel.record: JSON string at byte 19 does not fit int of field N"},
		{"interface", unreadable[fmt.Stringer]("1"), "reading header h as fmt.Stringer: JSON number at byte 1 does not fit fmt.Stringer"},
	} {
		if c.err == nil || !IsPermanent(c.err) || c.err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.name, c.err, c.want)
		}
	}
	d := Header[chan int]("h").Put(To(Topic[int]("out"), 1), nil)
	if err := d.Err(); err == nil || !IsPermanent(err) || !strings.Contains(err.Error(), "writing header h: json: unsupported type") {
		t.Errorf("a header that cannot be written: %v", err)
	}
	d = Header[int]("h").Put(d, 1).Set("x", "y").Key("k").BestEffort()
	if d.Err() == nil {
		t.Error("what was done later hid the error")
	}
}

// unreadable is the error of reading a V; it says so if there is none, or a value beside it.
func unreadable[V any](text string) error {
	v, ok, err := Header[V]("h").Get(Fields{{"h", text}})
	if ok || fmt.Sprint(v) != fmt.Sprint(*new(V)) {
		return fmt.Errorf("%v, %t beside %w", v, ok, err)
	}
	return err
}

// What a header's value says is in no error, whatever it is and whatever it is read as.
func FuzzHeaderGet(f *testing.F) {
	for _, s := range []string{"", "1", "-1h", "true", "2024-02-29T01:02:03Z", `{"n":`, `{"n":"`, `[1,"`, "\x00\xff", "%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, text := range []string{text, text + canary, canary + text, text + canary + `"}`} {
			quiet(t, text, unreadable[int])
			quiet(t, text, unreadable[int64])
			quiet(t, text, unreadable[bool])
			quiet(t, text, unreadable[time.Duration])
			quiet(t, text, unreadable[time.Time])
			quiet(t, text, unreadable[[]time.Time])
			quiet(t, text, unreadable[item])
			quiet(t, text, unreadable[map[int]json.Number])
			if s, ok, err := Header[string]("h").Get(Fields{{"h", text}}); s != text || ok != (text != "") || err != nil {
				t.Fatalf("%q is read as %q, %t, %v", text, s, ok, err)
			}
		}
	})
}

func quiet(t *testing.T, text string, read func(string) error) {
	t.Helper()
	if err := read(text); err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, err), canary) && !strings.Contains(err.Error(), "beside") {
		t.Fatalf("%q: the error quotes it: %v", text, err)
	}
}

func TestFields(t *testing.T) {
	fs := Fields{{"a", "1"}, {"b", "2"}, {"a", "3"}}
	if fs.Get("a") != "3" || fs.Get("b") != "2" || fs.Get("c") != "" || Fields(nil).Get("a") != "" {
		t.Errorf("a %q, b %q, c %q", fs.Get("a"), fs.Get("b"), fs.Get("c"))
	}
	e := arrived(Arrival{Payload: []byte("1"), Headers: fs})
	sameMap(t, "the last counts", mapOf(t, e.Fields()), map[string]string{"a": "3", "b": "2"})
	n := 0
	for range fs.All() {
		n++
		break
	}
	for range (Metadata{"a": "1", "b": "2"}).All() {
		n++
		break
	}
	if n != 2 {
		t.Errorf("%d headers were yielded after the loop had ended", n-2)
	}
	if (Metadata{"a": "1"}).Get("a") != "1" || Metadata(nil).Get("a") != "" {
		t.Error("Metadata.Get")
	}
}

// The list of what speaks of one message only. A new header is inherited unless it is put there.
func TestInherited(t *testing.T) {
	for _, name := range []string{"tenant", "traceparent", HeaderExpires, HeaderConversation, HeaderSequence, HeaderSequenceIndex, HeaderSequenceSize, HeaderSequenceOuter, HeaderCompleted} {
		if !inherited(name) {
			t.Errorf("%s is not inherited", name)
		}
	}
	for _, name := range []string{HeaderContentType, HeaderSchema, HeaderHops, HeaderKey, HeaderOnly, HeaderPutBack, HeaderReason, HeaderOriginal} {
		if inherited(name) {
			t.Errorf("%s is inherited", name)
		}
	}
}
