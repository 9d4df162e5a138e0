package kafka

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
)

// A publisher is closed while it connects to what does not answer, and nothing waits any more. Breaks if Close takes until
// DialTimeout.
func TestCloseWhileConnecting(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	p, err := NewPublisher(PublisherConfig{SendTimeout: 50 * time.Millisecond, Cluster: Cluster{
		Brokers: []string{"localhost:1"}, DialTimeout: time.Hour,
		Dial: func(context.Context, string, string) (net.Conn, error) { <-over; return nil, net.ErrClosed },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Publish("topic", numbered(0, 1)...); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publishing gives %v", err)
	}
	closed := make(chan struct{})
	go func() {
		_ = p.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Error("it is not closed")
	}
}

// A sender is being told that its message has waited for too long. Breaks if Close returns meanwhile, and done runs beside
// what comes after.
func TestCloseWaitsForWhoIsToldThatItIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{"localhost:1"}}})
		if err != nil {
			t.Fatal(err)
		}
		p.start.Do(func() { close(p.writer.over) }) // nobody writes
		told, goOn := make(chan struct{}), make(chan struct{})
		p.Send([]*adapters.Outgoing{{Topic: "topic", ID: "1"}}, func([]*adapters.Outgoing) {
			close(told)
			<-goOn
		})
		<-told
		var closed atomic.Bool
		go func() {
			_ = p.Close()
			closed.Store(true)
		}()
		if synctest.Wait(); closed.Load() {
			t.Error("it is closed while a sender is being told")
		}
		close(goOn)
		if synctest.Wait(); !closed.Load() {
			t.Error("it is not closed")
		}
	})
}
