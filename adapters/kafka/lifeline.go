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
// partition, which may succeed: its key would be inverted. It fails a batch that may have been written, too,
// and whoever sends that again doubles it. So the leader is looked for about 25 s, longer than anybody waits by
// default. What is behind waits meanwhile. After an outage that is longer, what was given up then may be
// overtaken, or doubled.
type lifeline struct {
	cut    atomic.Bool
	dialer proxy.Dialer
}

var errCut = errors.New("the producer is closing")

const (
	leaderRetries = 30               // a client's for what it asks: 1.5 s for the first five, then about every second
	leaderTime    = 25 * time.Second // in which a client is asked again
)

func newLifeline(s *sarama.Config) *lifeline {
	l := &lifeline{dialer: s.Net.Proxy.Dialer}
	s.Net.Proxy.Dialer = l
	s.Metadata.Retry.Max = leaderRetries
	s.Metadata.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		if l.cut.Load() {
			return 0
		}
		return leaderPause(retries)
	}
	return l
}

func leaderPause(retries int) time.Duration { return pause(50*time.Millisecond, time.Second, retries) }

// producer makes the producer that is on the line.
func (l *lifeline) producer(c sarama.Client) (sarama.AsyncProducer, error) {
	return sarama.NewAsyncProducerFromClient(&finder{c, l}) //nolint:wrapcheck // Its callers say what it is for.
}

// A finder is a client that does not give up a leader it has just heard of: between hearing and looking it up,
// another partition's trouble may have taken the broker off the client's list.
type finder struct {
	sarama.Client
	line *lifeline
}

// Leader looks again where looking again may help.
func (f *finder) Leader(topic string, partition int32) (*sarama.Broker, error) {
	began := time.Now()
	for try := 1; ; try++ {
		leader, err := f.Client.Leader(topic, partition)
		gone := errors.Is(err, sarama.ErrLeaderNotAvailable) || errors.Is(err, sarama.ErrOutOfBrokers)
		if !gone || f.line.cut.Load() || time.Since(began) >= leaderTime {
			return leader, err //nolint:wrapcheck // It is the client's.
		}
		time.Sleep(leaderPause(try))
	}
}

// Dial makes no connection once the line is cut.
func (l *lifeline) Dial(network, address string) (net.Conn, error) {
	if l.cut.Load() {
		return nil, errCut
	}
	return l.dialer.Dial(network, address) //nolint:wrapcheck // It is the dialer.
}
