package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// A Cluster is how to reach a Kafka cluster. One value may serve many publishers and subscribers, each of
// which has connections of its own.
type Cluster struct {
	// Brokers are some of the cluster's brokers, as host:port. At least one; the others are found by it.
	Brokers []string
	// ClientID is how the brokers' logs and quotas name this program. "": "leat".
	ClientID string
	// Version is the Kafka version whose protocol is spoken, such as "3.6.0", at least 2.5.0. Give no newer
	// one than the brokers have. "": "2.8.0", which every broker since then understands.
	Version string
	// TLS encrypts connections. Nil: none.
	TLS *TLS
	// SASL says who this program is. Nil: it does not say.
	SASL *SASL
	// DialTimeout bounds the making of one connection, and the first contact as a whole. 0: 10 s.
	DialTimeout time.Duration
	// ReadTimeout is how long an answer may take before a connection counts as dead. 0: 30 s.
	ReadTimeout time.Duration
	// Dial makes connections, through a proxy or in tests. Nil: TCP with keep-alive.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger is where state changes are logged, one line each. Nil: slog.Default().
	Logger *slog.Logger
}

const (
	defaultVersion = "2.8.0"
	defaultClient  = "leat"
)

// withDefaults fills in what was left out.
func (c Cluster) withDefaults() Cluster {
	c.Brokers = slices.Clone(c.Brokers)
	c.ClientID = or(c.ClientID, defaultClient)
	c.Version = or(c.Version, defaultVersion)
	c.DialTimeout = or(c.DialTimeout, 10*time.Second)
	c.ReadTimeout = or(c.ReadTimeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// wrong lists what is wrong with the settings, defaults filled in.
func (c *Cluster) wrong() []error {
	errs := []error{
		check(len(c.Brokers) > 0, "Cluster.Brokers is empty: give at least one host:port"),
		check(c.DialTimeout > 0, "Cluster.DialTimeout is %v: give a duration, or 0 for 10s", c.DialTimeout),
		check(c.ReadTimeout > 0, "Cluster.ReadTimeout is %v: give a duration, or 0 for 30s", c.ReadTimeout),
	}
	for i, b := range c.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			errs = append(errs, wrong("Cluster.Brokers[%d] is %q: give host:port", i, b))
		}
	}
	oldest := sarama.V2_5_0_0 // the first that fences members in transactions
	v, err := sarama.ParseKafkaVersion(c.Version)
	errs = append(errs, check(err == nil && v.IsAtLeast(oldest) && sarama.MaxVersion.IsAtLeast(v),
		"Cluster.Version is %q: give one from %v to %v, such as %q, or \"\" for %q", c.Version, oldest, sarama.MaxVersion, defaultVersion, defaultVersion))
	if c.TLS != nil {
		errs = append(errs, c.TLS.wrong()...)
	}
	if c.SASL != nil {
		errs = append(errs, c.SASL.wrong(c.TLS != nil)...)
	}
	return errs
}

// config is what publishers and subscribers have in common.
func (c *Cluster) config() (*sarama.Config, error) {
	s := sarama.NewConfig()
	s.ClientID = c.ClientID
	s.Version, _ = sarama.ParseKafkaVersion(c.Version) // wrong has looked at it
	s.Net.DialTimeout = c.DialTimeout
	s.Net.ReadTimeout = c.ReadTimeout
	s.Net.WriteTimeout = c.ReadTimeout
	s.Metadata.AllowAutoTopicCreation = false
	s.Metadata.Full = false // of the topics in use only
	s.Metadata.Retry.Max = 5
	s.Metadata.Retry.BackoffFunc = backoff(50*time.Millisecond, time.Second)
	dial := c.dial
	if c.TLS != nil {
		var err error
		if dial, err = c.TLS.dial(dial, c.Logger); err != nil {
			return nil, err
		}
	}
	s.Net.Proxy.Enable = true
	s.Net.Proxy.Dialer = dialer{dial, c.DialTimeout}
	if c.SASL != nil {
		c.SASL.apply(s)
	}
	return s, nil
}

// dialer makes connections as the client wants it: TCP, and TLS over it.
type dialer struct {
	dial    dialing
	timeout time.Duration
}

// Dial makes a connection within DialTimeout.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	defer cancel()
	return d.dial(ctx, network, address)
}

func (c *Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.Dial != nil {
		return c.Dial(ctx, network, address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, address) //nolint:wrapcheck // It names the address.
}

// connect makes a client. Within DialTimeout it has one, or an error that names the brokers.
func (c *Cluster) connect(ctx context.Context, s *sarama.Config) (sarama.Client, error) {
	limitExpansion.Do(func() {
		if sarama.MaxDecompressedBatchSize == 0 {
			sarama.MaxDecompressedBatchSize = maxExpanded
		}
	})
	if err := c.reach(ctx, s); err != nil {
		return nil, err
	}
	client, err := sarama.NewClient(c.Brokers, s)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return client, nil
}

// maxExpanded is how many bytes one compressed batch may come to: 16 MiB, less what the client's buffer has to have
// free to find out that there is no more, or it would double for that.
const maxExpanded = 16<<20 - 1<<10

var limitExpansion sync.Once //nolint:gochecknoglobals // What it sets is the client's own global.

// reach sees that one broker at least talks to us: that it answers, and takes what TLS and SASL say.
func (c *Cluster) reach(ctx context.Context, s *sarama.Config) error {
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	probe := *s
	probe.Net.ReadTimeout = c.DialTimeout
	results := make(chan error, len(c.Brokers))
	for _, address := range c.Brokers {
		go func() {
			b := sarama.NewBroker(address)
			err := b.Open(&probe)
			if err == nil {
				_, err = b.Connected() // waits until it is, or is not
			}
			_ = b.Close()
			if err != nil {
				err = fmt.Errorf("%s: %w", address, err)
			}
			results <- err
		}()
	}
	var errs []error
	for range c.Brokers {
		select {
		case err := <-results:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return c.unreachable(fmt.Errorf("no answer within Cluster.DialTimeout: %w", context.Cause(ctx)))
		}
	}
	return c.unreachable(errors.Join(errs...))
}

func (c *Cluster) unreachable(err error) error {
	return fmt.Errorf("connecting to Kafka at %s: %w: is it running, and are Cluster.Brokers, TLS and SASL right?",
		strings.Join(c.Brokers, ", "), err)
}

// backoff grows from base up to most, with jitter.
func backoff(base, most time.Duration) func(retries, maxRetries int) time.Duration {
	return func(retries, _ int) time.Duration { return pause(base, most, retries) }
}
