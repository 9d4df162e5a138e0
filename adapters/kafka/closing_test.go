package kafka

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
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
