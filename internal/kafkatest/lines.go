package kafkatest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Lines are the connections of one client, which a test can break. The zero value has none.
type Lines struct {
	mu    sync.Mutex
	gone  bool
	conns []net.Conn
}

var errCut = errors.New("the line is cut")

// Dial makes a connection, unless the lines are cut.
func (l *Lines) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // It names the address.
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		_ = c.Close()
		return nil, errCut
	}
	l.conns = append(l.conns, c)
	return c, nil
}

// Break breaks every connection there is, without a word. The next one can be made.
func (l *Lines) Break() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

// Cut is Break for good: to the broker, the client was killed.
func (l *Lines) Cut() {
	l.mu.Lock()
	l.gone = true
	l.mu.Unlock()
	l.Break()
}
