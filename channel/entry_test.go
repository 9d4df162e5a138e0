package channel

import (
	"errors"
	"strings"
	"testing"
)

// That entries agree with their envelopes, also when made anew, is TestChains.

func TestEntryKeepsBodies(t *testing.T) {
	sent := &item{N: 1}
	e := followed(arrived(Arrival{ID: "1", Payload: []byte("1")}), To(Topic[*item]("items"), sent), 0)
	x := e.Entry()
	*e = Envelope{}
	if got, err := Body[*item](x); got != sent || err != nil {
		t.Errorf("the body was copied or encoded: %p, not %p, %v", got, sent, err)
	}
	if before, after := x.Size(), mustPayload(t, x); x.Size() != before || string(after) != `{"n":1,"s":""}` {
		t.Errorf("an entry changed: %d bytes, then %d, payload %s", before, x.Size(), after)
	}
}

func TestEntryBody(t *testing.T) {
	codecs := &Codecs{Topics: map[string]Codec{"b": tagged("b:")}}
	for _, c := range []struct {
		name  string
		entry Entry
		want  item
		err   string
	}{
		{"JSON", NewEntry("1", "", nil, []byte(`{"n":1}`)), item{N: 1}, ""},
		{"by topic", NewEntry("1", "", nil, []byte(`b:{"n":1}`)).On("b", codecs), item{N: 1}, ""},
		{"tombstone", NewEntry("1", "", nil, nil), item{}, ""},
		{"not that", NewEntry("1", "", nil, []byte(`b:{"n":1}`)).On("a", codecs), item{}, "decoding channel.item from topic a (9 bytes): payload cannot be decoded"},
		{"half of it", NewEntry("1", "", nil, []byte(`{"n":1,"s":2}`)), item{}, "does not fit string of field s"},
	} {
		got, err := Body[item](c.entry)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && (!errors.Is(err, ErrDecode) || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	b, err := Body[[]byte](NewEntry("1", "", nil, []byte("x")))
	if string(b) != "x" || err != nil {
		t.Errorf("bytes: %q, %v", b, err)
	}
}

func TestEntrySize(t *testing.T) {
	empty := Entry{}.Size()
	x := NewEntry("1", "key", Fields{{"name", "value"}}, []byte("payload"))
	if got, want := x.Size()-empty, len("key"+"name"+"value"+"payload"); got != want {
		t.Errorf("%d bytes more than an empty one, want %d", got, want)
	}
}

func TestEntryWatermill(t *testing.T) {
	m, err := NewEntry("1", "k", Fields{{"tenant", "a"}, {HeaderHops, "3"}}, []byte("p")).Watermill(t.Context())
	if err != nil || m.UUID != "1" || string(m.Payload) != "p" || m.Context() != t.Context() {
		t.Fatalf("%+v, %v", m, err)
	}
	sameMap(t, "Watermill", m.Metadata, map[string]string{"tenant": "a", HeaderHops: "3", HeaderKey: "k"})
}

func BenchmarkEntry(b *testing.B) {
	root := arrived(Arrival{ID: "1", Payload: []byte(`{"n":1}`), Headers: Fields{{"tenant", "a"}, {"trace", "b"}}})
	direct := followed(root, To(Topic[item]("items"), item{}).Set("x", "y"), 0)
	far := followed(followed(direct, To(Topic[item]("items"), item{}), 0), To(Topic[item]("items"), item{}), 0)
	for _, c := range []struct {
		name string
		e    *Envelope
	}{{"arrived", root}, {"direct", direct}, {"after three hops", far}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x := c.e.Entry()
				if x.Key() != "" {
					b.Fatal(x.Key())
				}
			}
		})
	}
	b.Run("Get", func(b *testing.B) {
		x := direct.Entry()
		b.ReportAllocs()
		for b.Loop() {
			if x.Get("tenant") != "a" {
				b.Fatal("no tenant")
			}
		}
	})
}
