package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

type item struct {
	N int    `json:"n"`
	S string `json:"s"`
}

var chainCodecs = &Codecs{
	Topics: map[string]Codec{"b": tagged("b:")},
	Types:  map[string]Codec{"text/b:": tagged("b:"), "text/c:": tagged("c:")},
}

// A hop is one delivery of a chain, described so that it can be made again.
type hop struct {
	kind    string
	topic   string
	body    item
	key     string
	id      string
	sets    []Field
	hops    int32
	ordinal int
	bare    bool
}

// The headers whose value the engine may add when a message leaves: for these, and no others, Get and
// Fields may differ.
var engineHeaders = []string{HeaderHops, HeaderConversation, HeaderOriginal, HeaderContentType}

var settable = []string{
	"tenant", "trace", "x", HeaderSchema, HeaderExpires, HeaderSequence, HeaderConversation, HeaderHops,
	HeaderOriginal, HeaderReason, HeaderOnly, HeaderPutBack, HeaderKey, HeaderCompleted,
}

func randomFields(rnd *rand.Rand, most int) (fs Fields) {
	for range rnd.IntN(most + 1) {
		fs = append(fs, Field{settable[rnd.IntN(len(settable))], []string{"", "1", "two", "3"}[rnd.IntN(4)]})
	}
	return fs
}

func randomHop(rnd *rand.Rand) hop {
	h := hop{
		kind:    []string{"to", "to", "bytes", "forward", "forward", "delete"}[rnd.IntN(6)],
		topic:   []string{"a", "b", "raw"}[rnd.IntN(3)],
		body:    item{rnd.IntN(10), strconv.Itoa(rnd.IntN(10))},
		sets:    randomFields(rnd, 3),
		ordinal: rnd.IntN(3), bare: rnd.IntN(6) == 0, hops: int32(rnd.IntN(3) * rnd.IntN(9)),
	}
	if rnd.IntN(4) == 0 {
		h.key = "key-" + strconv.Itoa(rnd.IntN(3))
	}
	if rnd.IntN(6) == 0 {
		h.id = "own-" + strconv.Itoa(rnd.IntN(3))
	}
	if h.kind == "to" && rnd.IntN(4) == 0 {
		h.sets = append(h.sets, Field{HeaderContentType, "text/c:"})
	}
	return h
}

func (h hop) delivery(cause *Envelope) Delivery {
	var d Delivery
	switch h.kind {
	case "to":
		d = To(Topic[item](h.topic), h.body)
	case "bytes":
		d = To(Topic[[]byte](h.topic), []byte(h.body.S))
	case "forward":
		d = ForwardRaw(Topic[[]byte](h.topic), cause)
	case "delete":
		d = Delete(Topic[item](h.topic), h.key)
	}
	for _, f := range h.sets {
		d = d.Set(f.Name, f.Value)
	}
	if h.key != "" {
		d = d.Key(h.key)
	}
	if h.id != "" {
		d = d.ID(h.id)
	}
	if h.hops > 0 {
		d = d.Of(Entry{}, Entry{hops: h.hops})
	}
	if h.bare {
		d = d.Bare()
	}
	return d
}

// leaves is a naive model of what is on the wire: the headers of a message from those of its cause.
func (h hop) leaves(cause *Envelope, wire map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range wire {
		switch name {
		case HeaderHops, HeaderKey, HeaderOnly, HeaderPutBack, HeaderReason, HeaderOriginal:
		case HeaderContentType, HeaderSchema:
			if h.kind == "forward" {
				out[name] = value
			}
		default:
			if !h.bare {
				out[name] = value
			}
		}
	}
	taken := false
	for _, f := range h.sets {
		out[f.Name] = f.Value
		taken = f.Name == HeaderConversation || taken
	}
	if out[HeaderConversation] == "" && !taken && !h.bare && !cause.Tick() {
		out[HeaderConversation] = wire[HeaderConversation]
		if out[HeaderConversation] == "" {
			out[HeaderConversation] = cause.ID()
		}
	}
	out[HeaderHops] = strconv.Itoa(max(cause.Hops(), int(h.hops)) + 1)
	if h.kind == "forward" {
		out[HeaderOriginal] = wire[HeaderOriginal]
		if out[HeaderOriginal] == "" {
			out[HeaderOriginal] = cause.ID()
		}
	}
	if h.kind == "to" && out[HeaderContentType] == "" {
		out[HeaderContentType] = chainCodecs.For(h.topic, "").ContentType()
	}
	for name, value := range out {
		if value == "" {
			delete(out, name)
		}
	}
	return out
}

// listed are headers that can be had as Fields.
type listed struct{ Headers }

func (l listed) Fields() Fields { return l.Headers.(Fields) }

func randomArrival(rnd *rand.Rand) Arrival {
	a := Arrival{
		Topic: []string{"a", "b"}[rnd.IntN(2)], Scope: "flow/step", ID: "root-" + strconv.Itoa(rnd.IntN(5)), Codecs: chainCodecs,
		Key: []string{"", "k"}[rnd.IntN(2)],
	}
	switch rnd.IntN(4) {
	case 0:
		a.Payload = []byte(`{"n":1}`)
	case 1:
		a.Payload = []byte{}
	case 2:
		a.Payload = nil
	default:
		a.Tick = true
		return a
	}
	fs := randomFields(rnd, 6)
	if rnd.IntN(3) == 0 {
		fs = append(fs, Field{HeaderHops, []string{"3", "-3", "many", "99999999999999999999", strconv.Itoa(math.MaxInt32)}[rnd.IntN(5)]})
	}
	if rnd.IntN(3) == 0 {
		fs = append(fs, Field{HeaderContentType, "text/c:"})
	}
	m := Metadata{}
	for _, f := range fs {
		m[f.Name] = f.Value
	}
	switch rnd.IntN(4) {
	case 0:
		a.Headers = m
	case 1:
		a.Headers = struct{ Headers }{m} // somebody else's
	case 2:
		a.Headers = listed{fs}
	default:
		if fs != nil {
			a.Headers = fs
		}
	}
	return a
}

// A message is the same whether those between it and what arrived were direct hops or went through a
// broker, and its entry is what leaves.
func TestChains(t *testing.T) {
	for seed, rnd := range seeds(t, 3_000) {
		a := randomArrival(rnd)
		ctx := fmt.Sprintf("seed %d, arrival %+v", seed, a)
		direct, wired := arrived(a), arrived(a) // over direct hops; each over a broker
		all := []*Envelope{direct}
		for range 1 + rnd.IntN(4) {
			h := randomHop(rnd)
			if h.kind == "forward" && direct.Tick() { // time cannot be forwarded
				h.kind = "to"
			}
			ctx += fmt.Sprintf("\n then %+v", h)
			if direct.Hops() >= math.MaxInt32-10 { // the model does not saturate
				break
			}
			d, w := new(Envelope), new(Envelope)
			dd, wd := h.delivery(direct), h.delivery(wired)
			if rnd.IntN(3) == 0 { // whether somebody looks at the bytes changes nothing
				_, _ = direct.Payload()
			}
			d.Follow(direct, &dd, h.ordinal, "flow/step")
			w.Follow(wired, &wd, h.ordinal, "flow/step")
			wire := mapOf(t, wired.Fields())
			same(t, ctx, d, w)
			if direct.Tick() {
				wire = nil
			}
			sameMap(t, ctx, mapOf(t, d.Fields()), h.leaves(wired, wire))
			direct = d
			all = append(all, d)
			wired = arrived(Arrival{
				Topic: w.Topic(), Scope: "flow/step", ID: w.ID(), Key: w.Key(), Codecs: chainCodecs,
				Headers: w.Fields(), Payload: mustPayload(t, w),
			})
		}
		rest(t, ctx, all)
	}
}

func same(t *testing.T, ctx string, a, b *Envelope) {
	t.Helper()
	if a.ID() != b.ID() || a.UID() != b.UID() || a.Key() != b.Key() || a.Deleted() != b.Deleted() || a.Hops() != b.Hops() {
		t.Fatalf("%s\nid %s key %q deleted %t hops %d over direct hops; over a broker %s %q %t %d", ctx,
			a.ID(), a.Key(), a.Deleted(), a.Hops(), b.ID(), b.Key(), b.Deleted(), b.Hops())
	}
	if a.UID() != IDOf(a.ID()) {
		t.Fatalf("%s\nUID is not that of ID %s", ctx, a.ID())
	}
	pa, pb := mustPayload(t, a), mustPayload(t, b)
	if !bytes.Equal(pa, pb) || (pa == nil) != (pb == nil) || (pa == nil) != a.Deleted() && !a.Root().Tick() {
		t.Fatalf("%s\npayload %q over direct hops, %q over a broker, deleted %t", ctx, pa, pb, a.Deleted())
	}
	sameMap(t, ctx, mapOf(t, a.Fields()), mapOf(t, b.Fields()))
	for _, e := range []*Envelope{a, b} {
		fs := e.Fields()
		for _, name := range append(settable, HeaderContentType, "none") {
			if got, want := e.Get(name), fs.Get(name); got != want && !slices.Contains(engineHeaders, name) {
				t.Fatalf("%s\nGet(%s) = %q, Fields has %q", ctx, name, got, want)
			}
		}
	}
}

// rest checks the entries of a chain once its envelopes are gone.
func rest(t *testing.T, ctx string, chain []*Envelope) {
	t.Helper()
	type seen struct {
		entry   Entry
		id, key string
		uid     ID
		hops    int
		deleted bool
		headers map[string]string
		payload []byte
	}
	entries := make([]seen, 0, len(chain))
	for _, e := range chain {
		s := seen{entry: e.Entry(), id: e.ID(), uid: e.UID(), key: e.Key(), hops: e.Hops(), deleted: e.Deleted(), headers: mapOf(t, e.Fields())}
		s.payload = mustPayload(t, e)
		entries = append(entries, s)
	}
	for _, e := range chain {
		*e = Envelope{}
	}
	for i, s := range entries {
		check := func(what string, x Entry) {
			what = fmt.Sprintf("%s\nmessage %d: %s", ctx, i, what)
			if x.ID() != s.id || x.UID() != s.uid || x.Key() != s.key || x.Hops() != s.hops || x.Deleted() != s.deleted {
				t.Fatalf("%s has id %s, key %q, hops %d, deleted %t; want %s, %q, %d, %t", what, x.ID(), x.Key(), x.Hops(), x.Deleted(), s.id, s.key, s.hops, s.deleted)
			}
			if p := mustPayload(t, x); !bytes.Equal(p, s.payload) || (p == nil) != (s.payload == nil) {
				t.Fatalf("%s has payload %q, want %q", what, p, s.payload)
			}
			sameMap(t, what, mapOf(t, x.Headers()), s.headers)
			for _, name := range append(settable, HeaderContentType, "none") {
				if x.Get(name) != s.headers[name] {
					t.Fatalf("%s: Get(%s) = %q, Headers has %q", what, name, x.Get(name), s.headers[name])
				}
			}
		}
		check("its entry", s.entry)
		if s.payload == nil && !s.deleted { // a clock's tick is not stored
			continue
		}
		check("its entry made anew", NewEntry(s.entry.ID(), s.entry.Key(), s.entry.Headers(), s.payload))
	}
}

func TestEnvelopeIDs(t *testing.T) {
	root := func(id, scope string) *Envelope { return arrived(Arrival{ID: id, Scope: scope, Payload: []byte("1")}) }
	to := To(Topic[int]("out"), 1)
	id := func(e *Envelope, d Delivery, n int) string { return followed(e, d, n).ID() }
	base := id(root("1", "f/s"), to, 0)
	for attempt := range 3 {
		e := root("1", "f/s")
		e.SetAttempt(attempt + 1)
		if got := id(e, To(Topic[int]("out"), attempt), 0); got != base {
			t.Errorf("attempt %d has id %s, the first %s", attempt+1, got, base)
		}
	}
	ids := map[string]string{
		"":           base,
		"ordinal":    id(root("1", "f/s"), to, 1),
		"topic":      id(root("1", "f/s"), To(Topic[int]("other"), 1), 0),
		"scope":      id(root("1", "f/t"), to, 0),
		"cause":      id(root("2", "f/s"), to, 0),
		"cause's":    id(followed(root("1", "f/s"), to, 0), to, 0),
		"own":        id(root("1", "f/s"), to.ID("x"), 0),
		"another":    id(root("1", "f/s"), to.ID("y"), 0),
		"own, scope": id(root("1", "f/t"), to.ID("x"), 0),
	}
	back := map[string]string{}
	for what, id := range ids {
		if other, ok := back[id]; ok {
			t.Errorf("another %q has the id of another %q", what, other)
		}
		back[id] = what
	}
	own := ids["own"]
	for what, got := range map[string]string{
		"cause":   id(root("2", "f/s"), to.ID("x"), 0),
		"ordinal": id(root("1", "f/s"), to.ID("x"), 5),
		"topic":   id(root("1", "f/s"), To(Topic[string]("other"), "").ID("x"), 0),
	} {
		if got != own {
			t.Errorf("an id of its own differs with another %s", what)
		}
	}
	e := root("", "f/s")
	if first := e.ID(); first != e.ID() || first == root("", "f/s").ID() {
		t.Error("a message without an id has one random id")
	}
}

func TestEnvelopeHops(t *testing.T) {
	for _, c := range []struct {
		header string
		want   int
	}{
		{"", 1},
		{"0", 1},
		{"41", 42},
		{"-5", 1},
		{"many", 1},
		{strconv.Itoa(math.MaxInt32), math.MaxInt32},
		{"99999999999999999999", math.MaxInt32},
	} {
		e := followed(arrived(Arrival{ID: "1", Payload: []byte("1"), Headers: Fields{{HeaderHops, c.header}}}), To(Topic[int]("out"), 1), 0)
		if e.Hops() != c.want || e.Fields().Get(HeaderHops) != strconv.Itoa(c.want) {
			t.Errorf("after %q: %d hops, header %s, want %d", c.header, e.Hops(), e.Fields().Get(HeaderHops), c.want)
		}
	}
	members := []Entry{NewEntry("1", "", Fields{{HeaderHops, "7"}}, nil), NewEntry("2", "", Fields{{HeaderHops, "9"}}, nil)}
	tick := arrived(Arrival{Tick: true, ID: "t"})
	if e := followed(tick, To(Topic[int]("out"), 1).Of(members...), 0); e.Hops() != 10 {
		t.Errorf("%d hops after members with 7 and 9", e.Hops())
	}
}

func TestEnvelopeForwardKeepsBytes(t *testing.T) {
	payload := []byte("{ \"n\" : 1,\n\"unknown\": true }")
	e := arrived(Arrival{ID: "1", Topic: "a", Payload: payload})
	block := Erase[item](blockFunc[item](func(m Message[item]) (Result, error) {
		return Send(Forward("b", m)), nil
	}))
	for hops := range 3 {
		var r Result
		if err := block(e, &r); err != nil {
			t.Fatal(err)
		}
		e = followed(e, *r.At(0), 0)
		if p := mustPayload(t, e); &p[0] != &payload[0] || len(p) != len(payload) {
			t.Fatalf("after %d hops: %q", hops+1, p)
		}
		if e.Fields().Get(HeaderOriginal) != "1" {
			t.Fatalf("after %d hops: original id %q", hops+1, e.Fields().Get(HeaderOriginal))
		}
	}
}

type blockFunc[T any] func(Message[T]) (Result, error)

func (f blockFunc[T]) Process(m Message[T]) (Result, error) { return f(m) }
func (blockFunc[T]) Shape() Shape                           { return Shape{} }

func TestEnvelopePayload(t *testing.T) {
	root := arrived(Arrival{ID: "1", Payload: []byte("1")})
	for _, c := range []struct {
		name    string
		e       *Envelope
		want    string
		deleted bool
	}{
		{"nil arrived", arrived(Arrival{}), "", true},
		{"empty arrived", arrived(Arrival{Payload: []byte{}}), "", false},
		{"no bytes sent", followed(root, To(Topic[[]byte]("out"), nil), 0), "", false},
		{"nil pointer sent", followed(root, To[*item]("out", nil), 0), "null", false},
		{"nil interface sent", followed(root, To[any]("out", nil), 0), "null", false},
		{"deleted", followed(root, Delete[item]("out", "k"), 0), "", true},
		{"tombstone forwarded", followed(arrived(Arrival{}), ForwardRaw("out", arrived(Arrival{})), 0), "", true},
	} {
		p := mustPayload(t, c.e)
		if string(p) != c.want || (p == nil) != c.deleted || c.e.Deleted() != c.deleted {
			t.Errorf("%s: payload %q, nil %t, deleted %t; want %q, %t", c.name, p, p == nil, c.e.Deleted(), c.want, c.deleted)
		}
		if m, err := c.e.Watermill(); err != nil || string(m.Payload) != c.want || (m.Payload == nil) != c.deleted {
			t.Errorf("%s in Watermill: %q, %v", c.name, m.Payload, err)
		}
	}
}

func TestEnvelopeBytes(t *testing.T) {
	root := arrived(Arrival{ID: "1", Payload: []byte(`{"n":1}`)})
	if _, err := erased[item](root); err != nil { // that somebody read it changes nothing
		t.Fatal(err)
	}
	sent := followed(root, To(Topic[item]("out"), item{}), 0)
	_ = mustPayload(t, sent)
	for _, c := range []struct {
		name string
		e    *Envelope
		want string
		ok   bool
		none bool
	}{
		{"arrived", root, `{"n":1}`, true, false},
		{"a tombstone", arrived(Arrival{}), "", true, true},
		{"empty", arrived(Arrival{Payload: []byte{}}), "", true, false},
		{"a body", arrived(Arrival{Body: item{}, HasBody: true}), "", false, true},
		{"bytes handed over", arrived(Arrival{Body: []byte("b"), HasBody: true}), "b", true, false},
		{"nil handed over", arrived(Arrival{Body: []byte(nil), HasBody: true}), "", true, false},
		{"a tick", arrived(Arrival{Tick: true}), "", false, true},
	} {
		if b, ok := c.e.Bytes(); string(b) != c.want || ok != c.ok || (b == nil) != c.none {
			t.Errorf("%s: %q, nil %t, %t", c.name, b, b == nil, ok)
		}
	}
	if _, ok := sent.Bytes(); ok {
		t.Error("what was caused in the process came as bytes")
	}
}

type nilCodec struct{ JSON }

func (nilCodec) Encode(any) ([]byte, error) { return nil, nil }

func TestEnvelopeEncodeErrors(t *testing.T) {
	root := arrived(Arrival{ID: "1", Payload: []byte("1"), Codecs: &Codecs{Topics: map[string]Codec{"nil": nilCodec{}}}})
	for _, c := range []struct {
		name, want string
		d          Delivery
	}{
		{"no JSON", "encoding chan int for topic \"out\": body cannot be encoded: json: unsupported type: chan int", To(Topic[chan int]("out"), nil)},
		{"nil bytes", "encoding int for topic \"nil\": body cannot be encoded: the codec gave nil: an empty payload is []byte{}", To(Topic[int]("nil"), 1)},
	} {
		e := followed(root, c.d, 0)
		p, err := e.Payload()
		if p != nil || !errors.Is(err, ErrEncode) || !IsPermanent(err) || err.Error() != c.want {
			t.Errorf("%s: %q, %v; want %s", c.name, p, err, c.want)
		}
		if _, err := e.Watermill(); !errors.Is(err, ErrEncode) {
			t.Errorf("%s: Watermill gives %v", c.name, err)
		}
		if _, err := e.Entry().Payload(); !errors.Is(err, ErrEncode) {
			t.Errorf("%s: the entry gives %v", c.name, err)
		}
		if _, err := e.Entry().Watermill(t.Context()); !errors.Is(err, ErrEncode) {
			t.Errorf("%s: the entry in Watermill gives %v", c.name, err)
		}
	}
}

func TestEnvelopeWatermill(t *testing.T) {
	type ctxKey struct{}
	ctx := context.WithValue(context.Background(), ctxKey{}, 1)
	e := arrived(Arrival{Context: ctx, ID: "1", Key: "k", Payload: []byte("p"), Headers: Metadata{"tenant": "a", HeaderKey: "stale"}})
	m, err := e.Watermill()
	if err != nil || m.UUID != "1" || string(m.Payload) != "p" || m.Context().Value(ctxKey{}) != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	sameMap(t, "Watermill", m.Metadata, map[string]string{"tenant": "a", HeaderKey: "k"})
	m.Metadata["tenant"] = "b"
	if e.Get("tenant") != "a" {
		t.Error("a change of the copy changed the message")
	}
}

func TestEnvelopeExpires(t *testing.T) {
	e := arrived(Arrival{Payload: []byte("1"), Headers: Fields{{HeaderExpires, "s3cr3t"}}})
	if _, ok, err := e.Expires(); ok || !IsPermanent(err) || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), HeaderExpires) {
		t.Errorf("an unreadable deadline: %t, %v", ok, err)
	}
	if _, ok, err := arrived(Arrival{}).Expires(); ok || err != nil {
		t.Errorf("no deadline: %t, %v", ok, err)
	}
}

// Three hops over direct hops: what a flow of four steps costs before anything is published.
func BenchmarkFollow(b *testing.B) {
	root := arrived(Arrival{ID: "4bf92f35-77b3-4da6-a3ce-929d0e0e4736", Payload: []byte(`{"n":1}`), Headers: Fields{{"tenant", "a"}, {"trace", "b"}}})
	d := To(Topic[item]("out"), item{})
	var x, y, z Envelope
	follow := func() {
		x, y, z = Envelope{}, Envelope{}, Envelope{}
		x.Follow(root, &d, 0, "f/1")
		y.Follow(&x, &d, 0, "f/2")
		z.Follow(&y, &d, 0, "f/3")
	}
	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			follow()
			if z.Get("tenant") != "a" {
				b.Fatal("no tenant")
			}
		}
	})
	b.Run("UID", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			follow()
			_ = z.UID()
		}
	})
	b.Run("Fields", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			follow()
			if len(z.Fields()) != 5 {
				b.Fatal(z.Fields())
			}
		}
	})
}
