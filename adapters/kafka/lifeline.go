package kafka

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/net/proxy"
)

// A lifeline that is cut has its client try nothing more: no connection, no pause. An answer that it waits for still may
// take until ReadTimeout.
type lifeline struct {
	cut    atomic.Bool
	dialer proxy.Dialer
}

var errCut = errors.New("the publisher is closing")

func newLifeline(s *sarama.Config) *lifeline {
	l := &lifeline{dialer: s.Net.Proxy.Dialer}
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
	return l.dialer.Dial(network, address) //nolint:wrapcheck // It is the dialer.
}
