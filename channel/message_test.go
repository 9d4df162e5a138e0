package channel

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNewMessage(t *testing.T) {
	m := NewMessage("1", item{N: 1}, HeaderKey, "k", "tenant", "a", "odd one out")
	if m.ID() != "1" || m.Key() != "k" || m.Get("tenant") != "a" || m.Get("odd one out") != "" || m.Attempt() != 1 ||
		m.Scope() != "test/step" || m.Topic() != "" || m.Deleted() || m.Context() == nil || m.Body.N != 1 {
		t.Errorf("%+v", m)
	}
	if p := mustPayload(t, m); string(p) != `{"n":1,"s":""}` {
		t.Errorf("payload %s", p)
	}
	if x := m.Entry(); x.ID() != "1" || x.Get("tenant") != "a" {
		t.Errorf("entry %s, tenant %s", x.ID(), x.Get("tenant"))
	}
	if w, err := m.Watermill(); err != nil || w.UUID != "1" || w.Metadata[HeaderKey] != "k" {
		t.Errorf("in Watermill %+v, %v", w, err)
	}
}

func erased[T any](e *Envelope) (got T, err error) {
	var r Result
	err = Erase[T](blockFunc[T](func(m Message[T]) (Result, error) {
		got = m.Body
		return Done(), nil
	}))(e, &r)
	return got, err
}

func TestMessageDecode(t *testing.T) {
	root := arrived(Arrival{ID: "1", Topic: "a", Payload: []byte(`{"n":1}`)})
	direct := func(d Delivery) *Envelope { return followed(root, d, 0) }
	check := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", want, want) {
			t.Errorf("%s: %T %v, %v; want %T %v", what, got, got, err, want, want)
		}
	}
	i, err := erased[item](root)
	check("JSON", i, item{N: 1}, err)
	b, err := erased[[]byte](arrived(Arrival{Payload: []byte("{broken")}))
	check("bytes", string(b), "{broken", err)
	b, err = erased[[]byte](direct(To(Topic[item]("out"), item{N: 2})))
	check("a body as bytes", string(b), `{"n":2,"s":""}`, err)
	i, err = erased[item](arrived(Arrival{}))
	check("a tombstone", i, item{}, err)
	p, err := erased[*item](direct(To[*item]("out", nil)))
	check("a nil pointer", p, (*item)(nil), err)
	a, err := erased[any](direct(To[any]("out", nil)))
	check("a nil interface", a, nil, err)
	s, err := erased[fmt.Stringer](direct(To[fmt.Stringer]("out", tagged("x"))))
	check("an interface", s, tagged("x"), err)

	if _, err := erased[int](direct(To(Topic[item]("out"), item{}))); !errors.Is(err, ErrDecode) || err.Error() != "topic out: payload cannot be decoded: body is a channel.item, not a int" {
		t.Errorf("a body of another type: %v", err)
	}
	if got, err := erased[item](arrived(Arrival{Topic: "a", Payload: []byte(`{"n":1,"s":2}`)})); got != (item{}) || !errors.Is(err, ErrDecode) {
		t.Errorf("half a body: %+v, %v", got, err)
	}
}

// A body is decoded once for all steps that it is forwarded to.
func TestMessageDecodesOnce(t *testing.T) {
	c := &countingCodec{}
	e := arrived(Arrival{ID: "1", Payload: []byte(`{"n":1}`), Codecs: &Codecs{Default: c}})
	for range 3 {
		if _, err := erased[item](e); err != nil {
			t.Fatal(err)
		}
		e = followed(e, Forward("out", Message[item]{env: e}), 0)
	}
	if c.decoded != 1 {
		t.Errorf("decoded %d times", c.decoded)
	}
}

type countingCodec struct {
	JSON
	decoded int
}

func (c *countingCodec) Decode(payload []byte, body any) error {
	c.decoded++
	return c.JSON.Decode(payload, body)
}

// The topic that a message was written for says how to read it, wherever it is forwarded to.
func TestMessageForwardedToAnotherCodec(t *testing.T) {
	e := arrived(Arrival{ID: "1", Topic: "b", Payload: []byte(`b:{"n":1}`), Codecs: chainCodecs})
	forward := followed(e, ForwardRaw("a", e), 0)
	if got, err := Body[item](forward.Entry()); got.N != 1 || err != nil {
		t.Errorf("at rest: %+v, %v", got, err)
	}
	if got, err := erased[item](forward); got.N != 1 || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := erased[item](e); err != nil {
		t.Fatal(err)
	}
	if ct := followed(e, ForwardRaw("a", e), 0).Fields().Get(HeaderContentType); ct != "" {
		t.Errorf("that somebody read it made it %q", ct)
	}
	sent := followed(e, To(Topic[item]("b"), item{N: 2}), 0)
	if p := mustPayload(t, followed(sent, ForwardRaw("a", sent).Set(HeaderContentType, "text/c:"), 0)); !strings.HasPrefix(string(p), "b:") {
		t.Errorf("another content type wrote it anew: %s", p)
	}
	onward := followed(sent, ForwardRaw("a", sent), 0)
	if p := mustPayload(t, onward); !strings.HasPrefix(string(p), "b:") || onward.Fields().Get(HeaderContentType) != "text/b:" {
		t.Errorf("%s as %s", p, onward.Fields().Get(HeaderContentType))
	}
}
