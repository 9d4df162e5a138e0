package kafka

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/net/proxy"
)

// A lifeline that is cut has its client try nothing more: no connection, no pause. An answer that it waits for still may
// take until ReadTimeout, unless it is severed.
type lifeline struct {
	cut    atomic.Bool
	dialer proxy.Dialer

	mu   sync.Mutex
	open map[*lifelineConn]struct{}
}

var errCut = errors.New("closing: no connection is made any more")

func newLifeline(s *sarama.Config) *lifeline {
	l := &lifeline{dialer: s.Net.Proxy.Dialer, open: map[*lifelineConn]struct{}{}}
	s.Net.Proxy.Dialer = l
	pause := s.Metadata.Retry.BackoffFunc
	s.Metadata.Retry.BackoffFunc = func(retries, most int) time.Duration {
		if l.cut.Load() {
			return 0
		}
		return pause(retries, most)
	}
	return l
}

// Dial makes no connection once the line is cut.
func (l *lifeline) Dial(network, address string) (net.Conn, error) {
	if l.cut.Load() {
		return nil, errCut
	}
	c, err := l.dialer.Dial(network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is the dialer.
	}
	conn := &lifelineConn{Conn: c, of: l}
	l.mu.Lock()
	l.open[conn] = struct{}{}
	l.mu.Unlock()
	return conn, nil
}

// sever cuts the line, and what hangs on it.
func (l *lifeline) sever() {
	l.cut.Store(true)
	l.mu.Lock()
	open := l.open
	l.open = map[*lifelineConn]struct{}{}
	l.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
}

type lifelineConn struct {
	net.Conn

	of *lifeline
}

// Close closes the connection.
func (c *lifelineConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // It is the connection.
}
