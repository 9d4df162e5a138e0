package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
)

func piped(t *testing.T, window int) (*pipe, *strict) {
	t.Helper()
	s := newStrict(4)
	return &pipe{pub: renamed{s}, sub: s, bodies: numbered(8), window: window, strict: true, close: s.Close}, s
}

// A pipe that is to keep order sees that it does not.
func TestPipeSeesDisorder(t *testing.T) {
	p, s := piped(t, 0)
	l, err := p.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.bodies[2], p.bodies[3] = p.bodies[3], p.bodies[2]
	if err := l.Run(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context(), 2); !errors.Is(err, errOrder) {
		t.Fatalf("got %v, want %v", err, errOrder)
	}
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// A message that is lost is waited for until the run's time is over; the publisher does not stay behind.
func TestPipeWaitsForWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := piped(t, 2)
		p.pub = lossy{p.pub}
		l, err := p.load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		over := make(chan error, 1)
		go func() { over <- l.Run(ctx, 10) }()
		synctest.Wait()
		cancel(errLost)
		if err := <-over; !errors.Is(err, errLost) {
			t.Errorf("got %v, want %v", err, errLost)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestPipeSaysWhatThePublisherSays(t *testing.T) {
	p, s := piped(t, 0)
	l, err := p.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.pub = closed{p.pub}
	if err := l.Run(t.Context(), 1); !errors.Is(err, errClosed) {
		t.Errorf("got %v, want %v", err, errClosed)
	}
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// No more messages are on their way than the window has.
func TestPipeKeepsItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 3
		sent, out := counted{sent: new(int)}, make(chan *message.Message)
		p := &pipe{pub: sent, sub: reader(out), bodies: numbered(8), window: window, close: func() error { return nil }}
		l, err := p.load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error, 1)
		go func() { over <- l.Run(t.Context(), 10) }()
		for got := range 10 {
			synctest.Wait()
			if want := min(got+window, 10); *sent.sent != want {
				t.Errorf("after %d came out, %d are sent, want %d", got, *sent.sent, want)
			}
			out <- message.NewMessage("", nil)
		}
		if err := errors.Join(<-over, l.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// What is not acknowledged comes again, before what follows it.
func TestStrictHandsOutAgain(t *testing.T) {
	s := newStrict(4)
	out, err := s.Subscribe(t.Context(), "topic")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Publish("topic", message.NewMessage("1", nil), message.NewMessage("2", nil)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"1", "1", "2"} {
		m := <-out
		if m.UUID != want {
			t.Errorf("message %d is %s, want %s", i, m.UUID, want)
		}
		if i == 0 {
			m.Nack()
		} else {
			m.Ack()
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish("full", make([]*message.Message, 0)...); err != nil {
		t.Fatal(err)
	}
}

var errLost = errors.New("lost")

type (
	lossy   struct{ message.Publisher }
	closed  struct{ message.Publisher }
	counted struct{ sent *int }
	reader  chan *message.Message
)

func (lossy) Publish(string, ...*message.Message) error  { return nil }
func (closed) Publish(string, ...*message.Message) error { return errClosed }
func (c counted) Publish(_ string, ms ...*message.Message) error {
	*c.sent += len(ms)
	return nil
}
func (counted) Close() error { return nil }

func (r reader) Subscribe(context.Context, string) (<-chan *message.Message, error) { return r, nil }
func (reader) Close() error                                                         { return nil }
