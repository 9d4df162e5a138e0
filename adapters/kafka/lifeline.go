package kafka

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/net/proxy"
)

// A lifeline has a producer's client try for a long time to find out who leads a partition, and give up at
// once when it is cut.
//
// The client fails a message as soon as it cannot find the leader, and goes on with the next of that
// partition, which may succeed: its key would be inverted. So it looks for about 25 s, longer than anybody waits by
// default. What is behind waits meanwhile. After an outage that is longer, what was given up then may be
// overtaken.
type lifeline struct {
	cut    atomic.Bool
	dialer proxy.Dialer
}

var errCut = errors.New("the producer is closing")

// leaderRetries is how often the leader is looked for: 1.5 s for the first five, then about every second.
const leaderRetries = 30

func newLifeline(s *sarama.Config) *lifeline {
	l := &lifeline{dialer: s.Net.Proxy.Dialer}
	s.Net.Proxy.Dialer = l
	s.Metadata.Retry.Max = leaderRetries
	s.Metadata.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		if l.cut.Load() {
			return 0
		}
		return pause(50*time.Millisecond, time.Second, retries)
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
