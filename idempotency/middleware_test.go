package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

func produce(n int, effects *int) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		*effects++
		var out []*message.Message
		for i := range n {
			x := message.NewMessage(watermill.NewUUID(), []byte(fmt.Sprintf("%s/%d", m.UUID, i)))
			x.Metadata["effect"] = strconv.Itoa(*effects)
			out = append(out, x)
		}
		return out, nil
	}
}

func text(ms []*message.Message) string {
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "%s %s %v\n", m.UUID, m.Payload, m.Metadata)
	}
	return b.String()
}

func TestMiddlewareGivesStoredMessagesAgain(t *testing.T) {
	effects := 0
	h := idempotency.Receiver{Store: &idempotency.Memory{}}.Middleware("shop/charge")(produce(3, &effects))
	first, err := h(message.NewMessage("1", []byte("p")))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := h(message.NewMessage("1", []byte("p")))
		if err != nil || text(again) != text(first) || len(again) != 3 {
			t.Fatalf("error %v, messages\n%swant\n%s", err, text(again), text(first))
		}
	}
	if effects != 1 {
		t.Fatalf("%d effects; want 1", effects)
	}
}

func TestMiddlewareRefuses(t *testing.T) {
	mem := &idempotency.Memory{}
	good := idempotency.Receiver{Store: mem}
	ok := func(*message.Message) ([]*message.Message, error) { return nil, nil }
	large := func(*message.Message) ([]*message.Message, error) {
		return message.Messages{message.NewMessage("x", make([]byte, idempotency.MaxResult+1))}, nil
	}
	forged := message.NewMessage("1", []byte("forged"))
	for _, x := range []struct {
		name  string
		r     idempotency.Receiver
		scope string
		h     message.HandlerFunc
		m     *message.Message
		want  error
	}{
		{"first", good, "s", ok, message.NewMessage("1", []byte("p")), nil},
		{"conflict", good, "s", ok, forged, idempotency.ErrConflict},
		{"no store", idempotency.Receiver{}, "s", ok, message.NewMessage("2", nil), nil},
		{"no scope", good, "", ok, message.NewMessage("2", nil), nil},
		{"no id", good, "s", ok, message.NewMessage("", nil), idempotency.ErrNoKey},
		{"result too large", good, "s", large, message.NewMessage("3", nil), channel.ErrTooLarge},
		{"handler's error", good, "s", func(*message.Message) ([]*message.Message, error) { return nil, errHandler }, message.NewMessage("4", nil), errHandler},
	} {
		out, err := x.r.Middleware(x.scope)(x.h)(x.m)
		if x.name == "first" {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err == nil || out != nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("%s: messages %v, error %v; want %v", x.name, out, err, x.want)
		}
	}
	if st := mem.Stats(); st.Running != 0 || st.Done != 1 {
		t.Fatalf("stats %+v; want one key done and nothing left", st)
	}
}

func TestMiddlewareWhileRunning(t *testing.T) {
	mw := idempotency.Receiver{Store: &idempotency.Memory{}}.Middleware("s")
	var inner error
	var claim idempotency.Claim
	h := mw(func(m *message.Message) ([]*message.Message, error) {
		claim, _ = idempotency.ClaimOf(m.Context())
		_, inner = mw(func(*message.Message) ([]*message.Message, error) {
			t.Error("two at a time")
			return nil, nil
		})(message.NewMessage("1", []byte("p")))
		return nil, nil
	})
	m := message.NewMessage("1", []byte("p"))
	if _, err := h(m); err != nil {
		t.Fatal(err)
	}
	if _, later := channel.IsLater(inner); !errors.Is(inner, idempotency.ErrRunning) || !later {
		t.Fatalf("error %v; want ErrRunning, Later", inner)
	}
	if claim.Key != "1" {
		t.Fatalf("claim %+v in the handler's context", claim)
	}
	if _, ok := idempotency.ClaimOf(m.Context()); ok {
		t.Fatal("the claim is in the context after the handler")
	}
}

func TestMiddlewareLetsGoAfterAPanic(t *testing.T) {
	mem := &idempotency.Memory{}
	h := idempotency.Receiver{Store: mem}.Middleware("s")(func(*message.Message) ([]*message.Message, error) { panic("boom") })
	func() {
		defer func() {
			if recover() != "boom" {
				t.Fatal("the panic is not passed on")
			}
		}()
		_, _ = h(message.NewMessage("1", nil))
	}()
	if st := mem.Stats(); st != (idempotency.Stats{}) {
		t.Fatalf("stats %+v; want nothing left", st)
	}
}

func TestMiddlewareStoreDown(t *testing.T) {
	store := &remote{Store: &idempotency.Memory{}}
	effects := 0
	h := idempotency.Receiver{Store: store}.Middleware("s")(produce(1, &effects))
	store.down.Store(true)
	if out, err := h(message.NewMessage("1", nil)); !errors.Is(err, errDown) || out != nil || effects != 0 {
		t.Fatalf("messages %v, error %v, %d effects; want the store's error and no effect", out, err, effects)
	}
	store.down.Store(false)
	if out, err := h(message.NewMessage("1", nil)); err != nil || len(out) != 1 {
		t.Fatalf("messages %v, error %v", out, err)
	}
	store.fail = func(call string, _ bool) error {
		if call == "commit" {
			return errDown
		}
		return nil
	}
	if out, err := h(message.NewMessage("2", nil)); !errors.Is(err, errDown) || out != nil {
		t.Fatalf("messages %v, error %v; want none without their mark", out, err)
	}
}

// The publisher of a plain router fails after the handler has returned: the first publishes of every
// message fail. Nothing is lost, and every message has its effect once.
func TestMiddlewareInARouterWhosePublisherFails(t *testing.T) {
	const n, parts = 50, 2
	for _, producing := range []bool{true, false} {
		t.Run(map[bool]string{true: "AddHandler", false: "AddConsumerHandler"}[producing], func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			pubsub := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1000}, watermill.NopLogger{})
			out, err := pubsub.Subscribe(ctx, "out")
			if err != nil {
				t.Fatal(err)
			}
			r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, watermill.NopLogger{})
			if err != nil {
				t.Fatal(err)
			}
			pub := &failing{Publisher: pubsub, fails: map[string]int{}}
			l := ledger{effects: map[string]int{}}
			receiver := idempotency.Receiver{Store: &idempotency.Memory{}}
			if producing {
				h := r.AddHandler("h", "in", pubsub, "out", pub, func(m *message.Message) ([]*message.Message, error) {
					l.effect(m.UUID)
					return partsOf(m, parts, watermill.NewUUID), nil
				})
				h.AddMiddleware(receiver.Middleware("test/h"))
			} else {
				// It publishes by itself, and fails with the publish: its effect comes after it, and the
				// ids of what it publishes are its own affair.
				h := r.AddConsumerHandler("h", "in", pubsub, func(m *message.Message) error {
					i := 0
					ms := partsOf(m, parts, func() string { i++; return fmt.Sprintf("%s/%d", m.UUID, i) })
					if err := pub.Publish("out", ms...); err != nil {
						return err
					}
					l.effect(m.UUID)
					return nil
				})
				h.AddMiddleware(receiver.Middleware("test/h"))
			}
			var running sync.WaitGroup
			running.Go(func() {
				if err := r.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			<-r.Running()
			for i := range n {
				for range 2 { // each has a duplicate
					if err := pubsub.Publish("in", message.NewMessage(fmt.Sprintf("m%d", i), []byte("p"))); err != nil {
						t.Fatal(err)
					}
				}
			}
			seen := map[string]map[string]bool{} // payload to ids
			for len(seen) < n*parts {
				select {
				case m := <-out:
					if seen[string(m.Payload)] == nil {
						seen[string(m.Payload)] = map[string]bool{}
					}
					seen[string(m.Payload)][m.UUID] = true
					m.Ack()
				case <-ctx.Done():
					t.Fatalf("%d of %d messages came out: the others are lost", len(seen), n*parts)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			running.Wait()
			if err := pubsub.Close(); err != nil {
				t.Fatal(err)
			}
			for m := range out {
				m.Ack()
			}
			for p, ids := range seen {
				if len(ids) != 1 {
					t.Errorf("%s was published under %d ids", p, len(ids))
				}
			}
			l.check(t, n)
			if pub.failed < n {
				t.Errorf("%d publishes failed; want one a message at least", pub.failed)
			}
		})
	}
}

func partsOf(m *message.Message, n int, id func() string) (ms []*message.Message) {
	for i := range n {
		ms = append(ms, message.NewMessage(id(), []byte(fmt.Sprintf("%s/%d", m.UUID, i))))
	}
	return ms
}

type ledger struct {
	mu      sync.Mutex
	effects map[string]int
}

func (l *ledger) effect(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.effects[id]++
}

func (l *ledger) check(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.effects) != n {
		t.Errorf("%d messages had an effect; want %d", len(l.effects), n)
	}
	for id, e := range l.effects {
		if e != 1 {
			t.Errorf("message %s had %d effects", id, e)
		}
	}
}

// failing publishes nothing of a message's messages the first three times.
type failing struct {
	message.Publisher

	mu     sync.Mutex
	fails  map[string]int
	failed int
}

func (p *failing) Publish(topic string, ms ...*message.Message) error {
	cause, _, _ := strings.Cut(string(ms[0].Payload), "/")
	p.mu.Lock()
	p.fails[cause]++
	fails := p.fails[cause] <= 3
	if fails {
		p.failed++
	}
	p.mu.Unlock()
	if fails {
		return errors.New("broker is down")
	}
	return p.Publisher.Publish(topic, ms...)
}

// A test that the test can fail: a middleware that marks and forgets what was to be published loses
// every message whose publish fails.
func TestMarkingAloneLoses(t *testing.T) {
	done := map[string]bool{}
	marking := func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			if done[m.UUID] {
				return nil, nil
			}
			out, err := h(m)
			done[m.UUID] = err == nil
			return out, err
		}
	}
	for _, x := range []struct {
		name string
		mw   message.HandlerMiddleware
		want int
	}{
		{"marking alone", marking, 0},
		{"receiver", idempotency.Receiver{Store: &idempotency.Memory{}}.Middleware("s"), 1},
	} {
		effects := 0
		h := x.mw(produce(1, &effects))
		published := 0
		for attempt := range 3 { // the publish of the first attempt fails
			out, err := h(message.NewMessage("1", []byte("p")))
			if err != nil {
				t.Fatal(err)
			}
			if attempt == 1 {
				published = len(out)
			}
		}
		if published != x.want {
			t.Errorf("%s: %d messages published after the redelivery; want %d", x.name, published, x.want)
		}
	}
}
