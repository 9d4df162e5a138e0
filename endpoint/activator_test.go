package endpoint_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/internal/blocktest"
)

type payment struct {
	Cents int `json:"cents"`
}

var errDown = errors.New("service is down")

func TestDoProcess(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
	}{
		{"done", nil},
		{"an error", errDown},
		{"a permanent error", channel.Permanent(errDown)},
		{"later", channel.Later(errDown, time.Second)},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			blocks := []channel.Processor[payment]{
				endpoint.Do(func(ctx context.Context, p payment) error {
					calls++
					if p.Cents != 250 || ctx != context.Background() {
						t.Errorf("called with %v and context %v", p, ctx)
					}
					return c.err
				}),
				endpoint.DoMessage(func(m channel.Message[payment]) error {
					calls++
					if m.Body.Cents != 250 || m.ID() != "1" {
						t.Errorf("called with %v of message %s", m.Body, m.ID())
					}
					return c.err
				}),
			}
			for _, block := range blocks {
				r, err := block.Process(channel.NewMessage("1", payment{250}))
				want := channel.Finished
				if c.err != nil {
					want = channel.Unsaid
				}
				_, later := channel.IsLater(err)
				_, wantLater := channel.IsLater(c.err)
				if !errors.Is(err, c.err) || r.Outcome() != want || r.Len() != 0 {
					t.Errorf("%v with %d deliveries, error %v", r.Outcome(), r.Len(), err)
				}
				if channel.IsPermanent(err) != channel.IsPermanent(c.err) || later != wantLater {
					t.Errorf("the class of %v is lost", err)
				}
			}
			if calls != len(blocks) {
				t.Errorf("%d calls for %d messages", calls, len(blocks))
			}
		})
	}
}

func TestDoGetsTheMessagesContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(channel.ErrExpired)
	for name, p := range map[string]channel.Processor[payment]{
		"do": endpoint.Do(func(ctx context.Context, _ payment) error { return context.Cause(ctx) }),
		"call": endpoint.Call(func(ctx context.Context, _ payment) (string, error) {
			return "", context.Cause(ctx)
		}, "x"),
	} {
		if _, _, err := blocktest.Process(t, p, channel.Arrival{Context: ctx, ID: "1", Payload: []byte(`{}`)}); !errors.Is(err, channel.ErrExpired) {
			t.Errorf("%s: error %v, want the cause of the message's context", name, err)
		}
	}
}

func TestPanicReachesTheEngine(t *testing.T) {
	for name, p := range map[string]channel.Processor[payment]{
		"do":   endpoint.Do(func(context.Context, payment) error { panic("boom") }),
		"call": endpoint.Call(func(context.Context, payment) (string, error) { panic("boom") }, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v: the engine would not see the panic", p)
				}
			}()
			_, err := p.Process(channel.NewMessage("1", payment{}))
			t.Errorf("returned, error %v", err)
		})
	}
}

func TestDoShape(t *testing.T) {
	s := endpoint.Do(func(context.Context, payment) error { return nil }).Shape()
	blocktest.CheckShape(t, s)
	if s.Pattern != "Service Activator" || s.Effect != channel.Acts || len(s.Outlets) != 0 || s.Tombstones {
		t.Errorf("%+v", s)
	}
	want := "endpoint.Do: Act is nil: give it the function to call"
	blocktest.CheckShape(t, endpoint.Do[payment](nil).Shape(), want)
	blocktest.CheckShape(t, endpoint.DoMessage[payment](nil).Shape(), want)
}

func BenchmarkDo(b *testing.B) {
	benchmark(b, endpoint.Do(func(context.Context, payment) error { return nil }), channel.NewMessage("1", payment{}))
}

func benchmark[T any](b *testing.B, p channel.Processor[T], m channel.Message[T]) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := p.Process(m); err != nil || r.Outcome() == channel.Unsaid {
			b.Fatal(err)
		}
	}
}
