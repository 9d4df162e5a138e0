package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/internal/blocktest"
)

const out channel.Topic[[]byte] = "out"

func TestWrapProcess(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle message.NoPublishHandlerFunc
		err    error
	}{
		{"nil is done", func(*message.Message) error { return nil }, nil},
		{"ack is harmless", func(m *message.Message) error { m.Ack(); return nil }, nil},
		{"an error", func(*message.Message) error { return errDown }, errDown},
		{"an error after ack", func(m *message.Message) error { m.Ack(); return errDown }, errDown},
		{"nack", func(m *message.Message) error { m.Nack(); return nil }, endpoint.ErrNacked},
		{"nack with an error", func(m *message.Message) error { m.Nack(); return errDown }, errDown},
		{"nack after ack is none", func(m *message.Message) error { m.Ack(); m.Nack(); return nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			produces := func(m *message.Message) ([]*message.Message, error) {
				return message.Messages{message.NewMessage("x", nil)}, c.handle(m)
			}
			for _, s := range []struct {
				block channel.Processor[[]byte]
				done  channel.Outcome
			}{{endpoint.Wrap(c.handle), channel.Finished}, {endpoint.WrapHandler(produces, out), channel.Sent}} {
				r, err := s.block.Process(channel.NewMessage("1", []byte("x")))
				want := s.done
				if c.err != nil {
					want = channel.Unsaid
				}
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || r.Outcome() != want || channel.IsPermanent(err) {
					t.Errorf("%T: %v, error %v; want %v, %v", s.block, r.Outcome(), err, want, c.err)
				}
			}
		})
	}
}

type ctxKey struct{}

func TestWrapGivesACopy(t *testing.T) {
	payload := []byte("as it came")
	a := channel.Arrival{
		Context: context.WithValue(t.Context(), ctxKey{}, "here"), Scope: "f/s", ID: "1", Key: "k", Payload: payload,
		Headers: channel.Metadata{"tenant": "a"},
	}
	calls := 0
	check := func(m *message.Message) {
		calls++
		if m.UUID != "1" || string(m.Payload) != "as it came" || m.Metadata["tenant"] != "a" || m.Metadata[channel.HeaderKey] != "k" {
			t.Errorf("call %d got %s %q %v", calls, m.UUID, m.Payload, m.Metadata)
		}
		if m.Context().Value(ctxKey{}) != "here" {
			t.Errorf("call %d got another context", calls)
		}
		// A handler may do what it likes to what it is given.
		copy(m.Payload, "##########")
		m.Metadata["tenant"] = "b"
		m.UUID = "2"
	}
	blocktest.Twice(t, endpoint.Wrap(func(m *message.Message) error { check(m); return nil }), a)
	blocktest.Twice(t, endpoint.WrapHandler(func(m *message.Message) ([]*message.Message, error) { check(m); return nil, nil }, out), a)
	if string(payload) != "as it came" || a.Headers.Get("tenant") != "a" || calls != 4 {
		t.Errorf("after %d calls the message is %q %v", calls, payload, a.Headers)
	}
}

func TestWrapTombstones(t *testing.T) {
	a := channel.Arrival{Scope: "f/s", ID: "1", Key: "k"}
	for _, p := range []channel.Processor[[]byte]{
		endpoint.Wrap(func(m *message.Message) error {
			if m.Payload != nil {
				return fmt.Errorf("payload is %q", m.Payload)
			}
			return nil
		}),
		endpoint.WrapHandler(message.PassthroughHandler, out),
	} {
		if !p.Shape().Tombstones {
			t.Errorf("%T refuses tombstones: the handler took them before", p)
		}
		if _, got, err := blocktest.Process(t, p, a); err != nil || len(got) > 0 && (!got[0].Tombstone || got[0].Key != "k") {
			t.Errorf("%T: sent %+v, error %v", p, got, err)
		}
	}
}

func TestWrapHandlerSendsWhatIsProduced(t *testing.T) {
	block := endpoint.WrapHandler(func(*message.Message) ([]*message.Message, error) {
		one := message.NewMessage(watermill.NewUUID(), []byte("one"))
		one.Metadata = message.Metadata{"b": "2", "a": "1", "tenant": "", channel.HeaderKey: "k1", channel.HeaderContentType: "text/plain"}
		two := message.NewMessage(watermill.NewUUID(), []byte{})
		three := message.NewMessage(watermill.NewUUID(), nil)
		return message.Messages{one, two, three}, nil
	}, out)
	got := blocktest.Twice(t, block, channel.Arrival{
		Scope: "f/s", ID: "1", Key: "k", Payload: []byte("x"),
		Headers: channel.Fields{{Name: "tenant", Value: "a"}, {Name: channel.HeaderContentType, Value: "application/json"}},
	})
	if len(got) != 3 {
		t.Fatalf("sent %+v", got)
	}
	for i, want := range []struct {
		key, payload, tenant, contentType string
		tombstone                         bool
	}{
		{"k1", "one", "", "text/plain", false},
		{"k", "", "a", "", false},
		{"k", "", "a", "", true},
	} {
		e := got[i]
		if e.Topic != "out" || e.Key != want.key || e.Payload != want.payload || e.Tombstone != want.tombstone ||
			e.Headers.Get("tenant") != want.tenant || e.Headers.Get(channel.HeaderContentType) != want.contentType {
			t.Errorf("message %d is %+v, want %+v", i, e, want)
		}
	}
	if h := got[0].Headers; h.Get("a") != "1" || h.Get("b") != "2" {
		t.Errorf("headers %v", h)
	}
	if got[0].ID == got[1].ID || got[1].ID == got[2].ID {
		t.Error("produced messages share ids")
	}
}

// Passing the message on, metadata and all, is what many handlers do.
func TestWrapHandlerPassthrough(t *testing.T) {
	got := blocktest.Twice(t, endpoint.WrapHandler(message.PassthroughHandler, out), channel.Arrival{
		Scope: "f/s", ID: "1", Key: "k", Payload: []byte("{}"),
		Headers: channel.Fields{
			{Name: "tenant", Value: "a"},
			{Name: channel.HeaderContentType, Value: "application/json"},
			{Name: channel.HeaderHops, Value: "7"},
			{Name: channel.HeaderOnly, Value: "f/s"},
			{Name: channel.HeaderOriginal, Value: "0"},
		},
	})
	if len(got) != 1 || got[0].Payload != "{}" || got[0].Key != "k" || got[0].ID == "1" {
		t.Fatalf("sent %+v", got)
	}
	count := 0
	for _, f := range got[0].Headers {
		if f.Name == channel.HeaderHops {
			count++
		}
	}
	h := got[0].Headers
	if h.Get("tenant") != "a" || h.Get(channel.HeaderContentType) != "application/json" {
		t.Errorf("headers %v", h)
	}
	if h.Get(channel.HeaderHops) != "8" || count != 1 || h.Get(channel.HeaderOnly) != "" || h.Get(channel.HeaderOriginal) != "" {
		t.Errorf("the old message's own headers went on: %v", h)
	}
}

func TestWrapHandlerNothingProduced(t *testing.T) {
	r, err := endpoint.WrapHandler(func(*message.Message) ([]*message.Message, error) { return nil, nil }, out).
		Process(channel.NewMessage("1", []byte("x")))
	if err != nil || r.Outcome() != channel.Finished || r.Len() != 0 {
		t.Errorf("%v with %d deliveries, error %v", r.Outcome(), r.Len(), err)
	}
}

func TestWrapHandlerNilMessage(t *testing.T) {
	r, err := endpoint.WrapHandler(func(m *message.Message) ([]*message.Message, error) {
		return message.Messages{m, nil}, nil
	}, out).Process(channel.NewMessage("1", []byte("x")))
	if !channel.IsPermanent(err) || !strings.Contains(err.Error(), "message 2 of 2 is nil") || r.Len() != 0 {
		t.Errorf("%d deliveries, error %v", r.Len(), err)
	}
}

func TestWrapPanicReachesTheEngine(t *testing.T) {
	for _, p := range []channel.Processor[[]byte]{
		endpoint.Wrap(func(*message.Message) error { panic("boom") }),
		endpoint.WrapHandler(func(*message.Message) ([]*message.Message, error) { panic("boom") }, out),
	} {
		func() {
			defer func() {
				if r := recover(); r != "boom" {
					t.Errorf("%T: recovered %v: the engine would not see the panic", p, r)
				}
			}()
			_, err := p.Process(channel.NewMessage("1", []byte("x")))
			t.Errorf("%T returned, error %v", p, err)
		}()
	}
}

func TestWrapShape(t *testing.T) {
	s := endpoint.Wrap(func(*message.Message) error { return nil }).Shape()
	blocktest.CheckShape(t, s)
	if s.Pattern != "Service Activator" || s.Effect != channel.Acts || len(s.Outlets) != 0 {
		t.Errorf("%+v", s)
	}
	s = endpoint.WrapHandler(message.PassthroughHandler, out).Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"produced>out"}) || s.Effect != channel.Acts {
		t.Errorf("outlets %q, effect %v", got, s.Effect)
	}
	blocktest.CheckShape(t, endpoint.Wrap(nil).Shape(), "endpoint.Wrap: Handle is nil: give it the handler to call")
	blocktest.CheckShape(t, endpoint.WrapHandler(nil, "").Shape(),
		"endpoint.WrapHandler: Handle is nil: give it the handler to call",
		"endpoint.WrapHandler: To is empty: name the topic it sends to")
	blocktest.CheckShape(t, endpoint.WrapHandler(message.PassthroughHandler, "out.*").Shape(),
		`endpoint.WrapHandler: To is "out.*", which stands for many topics: name one`)
}

// Whatever is produced, under whatever random UUIDs, goes out as it is and the same each time.
func TestWrapHandlerProperty(t *testing.T) {
	for seed := range uint64(200) {
		want := produce(rand.New(rand.NewPCG(seed, 6)))
		block := endpoint.WrapHandler(func(*message.Message) ([]*message.Message, error) {
			return produce(rand.New(rand.NewPCG(seed, 6))), nil
		}, out)
		got := blocktest.Twice(t, block, channel.Arrival{Scope: "f/s", ID: strconv.FormatUint(seed, 10), Payload: []byte("x")})
		if len(got) != len(want) {
			t.Fatalf("seed %d: sent %d of %d", seed, len(got), len(want))
		}
		for i, e := range got {
			if e.Payload != string(want[i].Payload) {
				t.Fatalf("seed %d: message %d has payload %q, want %q", seed, i, e.Payload, want[i].Payload)
			}
			for k, v := range maps.All(want[i].Metadata) {
				if e.Headers.Get(k) != v {
					t.Fatalf("seed %d: message %d has header %s = %q, want %q", seed, i, k, e.Headers.Get(k), v)
				}
			}
		}
	}
}

func produce(rnd *rand.Rand) message.Messages {
	ms := make(message.Messages, rnd.IntN(5))
	for i := range ms {
		ms[i] = message.NewMessage(watermill.NewUUID(), []byte(strconv.Itoa(rnd.Int())))
		for range rnd.IntN(6) {
			ms[i].Metadata.Set("h"+strconv.Itoa(rnd.IntN(9)), strconv.Itoa(rnd.Int()))
		}
	}
	return ms
}

func FuzzWrapHandler(f *testing.F) {
	f.Add([]byte("payload"), "tenant", "a", "k")
	f.Add([]byte{}, channel.HeaderHops, "9", "")
	f.Add([]byte(nil), channel.HeaderOnly, "f/s", "\x00")
	f.Add([]byte("{"), channel.HeaderKey, "other", "k")
	f.Fuzz(func(t *testing.T, payload []byte, name, value, key string) {
		got := blocktest.Twice(t, endpoint.WrapHandler(message.PassthroughHandler, out), channel.Arrival{
			Scope: "f/s", ID: "1", Key: key, Payload: payload, Headers: channel.Fields{{Name: name, Value: value}},
		})
		if len(got) != 1 || got[0].Payload != string(payload) || got[0].Tombstone != (payload == nil) {
			t.Fatalf("sent %+v for %q", got, payload)
		}
		switch name {
		case channel.HeaderKey, channel.HeaderHops, channel.HeaderOnly, channel.HeaderOriginal:
		default:
			if got[0].Headers.Get(name) != value {
				t.Fatalf("header %q = %q, want %q", name, got[0].Headers.Get(name), value)
			}
		}
		if key != "" && got[0].Key != key {
			t.Fatalf("key %q, want %q", got[0].Key, key)
		}
	})
}

func BenchmarkWrap(b *testing.B) {
	m := channel.NewMessage("1", []byte("payload"), "a", "1", "b", "2")
	b.Run("consumer", func(b *testing.B) { benchmark(b, endpoint.Wrap(func(*message.Message) error { return nil }), m) })
	b.Run("handler", func(b *testing.B) { benchmark(b, endpoint.WrapHandler(message.PassthroughHandler, out), m) })
}
