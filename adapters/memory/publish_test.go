package memory_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// What a publisher does to its message afterwards is its own business.
func TestPublishCopiesMetadata(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		m := msg("a", "k")
		m.Metadata["tenant"] = "x"
		publish(t, b.Publisher(), "topic", m)
		m.Metadata["tenant"] = "y"
		got := <-subscribe(t, t.Context(), b.Subscriber(""), "topic")
		want := message.Metadata{"tenant": "x", channel.HeaderKey: "k"}
		if len(got.Metadata) != len(want) || got.Metadata["tenant"] != "x" || got.Metadata[channel.HeaderKey] != "k" {
			t.Fatalf("metadata: got %v, want %v", got.Metadata, want)
		}
		got.Ack()
	})
}

func TestPublishKey(t *testing.T) {
	b := &memory.Broker{Key: func(m *message.Message) string { return m.Metadata["customer"] }}
	virtual(t, b, func(t *testing.T) {
		m := msg("a", "")
		m.Metadata["customer"] = "c1"
		publish(t, b.Publisher(), "topic", m)
		c := claim(t, b.Subscriber("group"))
		r := c.next(t, 10)[0]
		if r.Key != "c1" || r.Headers.Get("customer") != "c1" {
			t.Fatalf("key %q, header %q: want c1 twice", r.Key, r.Headers.Get("customer"))
		}
		c.Return([]*adapters.Record{r})
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
		got := <-subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		if k := got.Metadata.Get(channel.HeaderKey); k != "c1" {
			t.Fatalf("key header %q, want c1", k)
		}
		got.Ack()
	})
}

// A tombstone stays one, an empty payload stays empty.
func TestPublishNilPayload(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		publish(t, b.Publisher(), "topic", message.NewMessage("nil", nil), message.NewMessage("empty", []byte{}))
		ms := subscribe(t, t.Context(), b.Subscriber(""), "topic")
		for _, isNil := range []bool{true, false} {
			m := <-ms
			if (m.Payload == nil) != isNil {
				t.Errorf("%s: payload is nil: %v", m.UUID, !isNil)
			}
			m.Ack()
		}
	})
}

func TestPublishTooLarge(t *testing.T) {
	b := &memory.Broker{Limits: channel.Limits{Body: 10, Headers: 2, Header: 20, HeaderBytes: 30}}
	virtual(t, b, func(t *testing.T) {
		body := message.NewMessage("body", make([]byte, 11))
		one := msg("one", "")
		one.Metadata["name"] = strings.Repeat("x", 20)
		many := msg("many", "key")
		many.Metadata["a"], many.Metadata["b"] = "1", "2"
		all := msg("all", "")
		all.Metadata["0123456789a"], all.Metadata["0123456789b"] = "0123", "01234"
		for _, m := range []*message.Message{body, one, many, all} {
			err := b.Publisher().Publish("topic", msg("fine", ""), m)
			var pe *memory.PublishError
			if !errors.Is(err, channel.ErrTooLarge) || !errors.As(err, &pe) || pe.Taken != 0 || len(pe.Rest) != 2 || !strings.Contains(err.Error(), m.UUID) {
				t.Errorf("%s: got %v, want an ErrTooLarge that names it, and nothing taken", m.UUID, err)
			}
		}
		publish(t, b.Publisher(), "topic", msg("fits", "key"))
		same(t, "stored", drain(subscribe(t, t.Context(), b.Subscriber(""), "topic")), []string{"fits"})
	})
}

// A full topic has its publishers wait, in order, whether nobody reads it or one group is slow.
func TestPublishWaitsForRoom(t *testing.T) {
	for _, group := range []string{"", "group"} {
		b := &memory.Broker{Bound: 3, Order: adapters.Ordered}
		virtual(t, b, func(t *testing.T) {
			sub := b.Subscriber(group)
			if err := sub.SubscribeInitialize("topic"); err != nil {
				t.Fatal(err)
			}
			var ms []*message.Message
			for _, id := range []string{"0", "1", "2", "3", "4", "5", "6"} {
				ms = append(ms, msg(id, ""))
			}
			published := make(chan error, 1)
			go func() { published <- b.Publisher().Publish("topic", ms...) }()
			synctest.Wait()
			select {
			case err := <-published:
				t.Fatalf("publish of 7 to a topic of 3 did not wait: %v", err)
			default:
			}
			same(t, "read", drain(subscribe(t, t.Context(), sub, "topic")), ids(ms))
			if err := <-published; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// One acknowledgement makes room for one message.
func TestPublishRoomIsExact(t *testing.T) {
	b := &memory.Broker{Bound: 2, Order: adapters.Ordered}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		taken := make(chan string, 10)
		go func() {
			for _, id := range []string{"0", "1", "2", "3"} {
				if b.Publisher().Publish("topic", msg(id, "")) == nil {
					taken <- id
				}
			}
		}()
		for want := 2; want <= 4; want++ {
			synctest.Wait()
			if len(taken) != want {
				t.Fatalf("%d messages taken, want %d", len(taken), want)
			}
			(<-ms).Ack()
		}
		drain(ms)
	})
}

func TestPublishContextEnds(t *testing.T) {
	b := &memory.Broker{Bound: 2}
	virtual(t, b, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ms := []*message.Message{msg("0", ""), msg("1", ""), msg("2", ""), msg("3", "")}
		ms[2].SetContext(ctx)
		start := time.Now()
		err := b.Publisher().Publish("topic", ms...)
		var pe *memory.PublishError
		if !errors.As(err, &pe) || pe.Topic != "topic" || pe.Taken != 2 || !slices.Equal(pe.Rest, ms[2:]) {
			t.Fatalf("got %v, want a PublishError with 2 taken", err)
		}
		if !errors.Is(err, adapters.ErrFull) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: want ErrFull and DeadlineExceeded", err)
		}
		for _, part := range []string{`"topic"`, "2 messages that nobody has read", "subscribe to it", "Bound", "2 of 4"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v: does not say %s", err, part)
			}
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %v, want 1m", waited)
		}
		same(t, "stored", drain(subscribe(t, t.Context(), b.Subscriber(""), "topic")), []string{"0", "1"})
	})
}

func TestPublishFullNamesGroup(t *testing.T) {
	b := &memory.Broker{Bound: 1}
	virtual(t, b, func(t *testing.T) {
		if err := b.Subscriber("slow").SubscribeInitialize("topic"); err != nil {
			t.Fatal(err)
		}
		publish(t, b.Publisher(), "topic", msg("0", ""))
		m := msg("1", "")
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("no more patience")
		cancel(cause)
		m.SetContext(ctx)
		err := b.Publisher().Publish("topic", m)
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), `group "slow"`) {
			t.Fatalf("got %v, want the context's cause and the group's name", err)
		}
	})
}

// Close frees a publish that waits: of its own end, of the broker; not of another end.
func TestPublishClose(t *testing.T) {
	b := &memory.Broker{Bound: 1}
	virtual(t, b, func(t *testing.T) {
		publish(t, b.Publisher(), "topic", msg("0", ""))
		one, other := b.Publisher(), b.Publisher()
		got := make(chan error, 1)
		gotOther := make(chan error, 1)
		go func() { got <- one.Publish("topic", msg("1", "")) }()
		go func() { gotOther <- other.Publish("topic", msg("2", "")) }()
		synctest.Wait()
		for range 2 { // Close may be called again
			if err := one.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-got; !errors.Is(err, adapters.ErrClosed) {
			t.Errorf("own end closed: got %v, want ErrClosed", err)
		}
		if err := one.Publish("elsewhere", msg("3", "")); !errors.Is(err, adapters.ErrClosed) {
			t.Errorf("publish on a closed end: got %v, want ErrClosed", err)
		}
		synctest.Wait()
		if len(gotOther) != 0 {
			t.Fatalf("another end's publish ended: %v", <-gotOther)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-gotOther; !errors.Is(err, adapters.ErrClosed) {
			t.Errorf("broker closed: got %v, want ErrClosed", err)
		}
		if err := other.Publish("elsewhere", msg("3", "")); !errors.Is(err, adapters.ErrClosed) {
			t.Errorf("publish on a closed broker: got %v, want ErrClosed", err)
		}
	})
}
