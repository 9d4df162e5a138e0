package kafka

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-go/leat/internal/kafkatest"
)

// A mute is a network that lets nothing come through any more, and says so to nobody, once it is told to.
type mute struct{ silent atomic.Bool }

func (n *mute) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &muteConn{Conn: c, of: n, closed: make(chan struct{})}, nil
}

type muteConn struct {
	net.Conn

	of     *mute
	once   sync.Once
	closed chan struct{}
}

// Read waits until the connection is closed, though there are deadlines: they are long here.
func (c *muteConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.of.silent.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *muteConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A subscriber is closed while its broker takes requests and answers none. Breaks if Close waits for answers: for each of many
// tries until ReadTimeout.
func TestCloseWhileNobodyAnswers(t *testing.T) {
	const drain, session = 200 * time.Millisecond, 6 * time.Second
	for name, grouped := range map[string]bool{"in a group": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			addr := kafkatest.Addr(kafkatest.Fake(t))
			c, network := newCrowd(t, addr, 1), &mute{}
			c.publish(ids("m", 10)...)
			conf := SubscriberConfig{
				Cluster: Cluster{Brokers: []string{addr}, Dial: network.dial, ReadTimeout: time.Hour}, DrainTimeout: drain, SessionTimeout: session, CommitInterval: time.Hour,
			}
			if grouped {
				conf.Group = c.topic
			}
			s, err := NewSubscriber(conf)
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Subscribe(t.Context(), c.topic)
			if err != nil {
				t.Fatal(err)
			}
			for range 10 {
				(<-out).Ack()
			}
			network.silent.Store(true)
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			select {
			case err := <-closed:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Error("it is not closed")
			}
		})
	}
}
