package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// config is a client's that gives up soon: who calls asks again.
func config() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "kafkatest"
	c.Version = sarama.V2_8_0_0
	c.Net.DialTimeout = 2 * time.Second
	c.Net.ReadTimeout = 5 * time.Second
	c.Net.WriteTimeout = 5 * time.Second
	c.Metadata.Retry.Max = 0
	c.Metadata.RefreshFrequency = 0
	c.Admin.Retry.Max = 0
	c.Admin.Timeout = 5 * time.Second
	return c
}

var errNotReady = errors.New("the broker is not among the cluster's yet")

// ready returns when the broker at its address is one of the cluster's. An open port is not enough: the
// broker answers there while the controller still takes it for dead, and no partition has a leader.
func (s *Server) ready(ctx context.Context, p *process) error {
	return until(ctx, p.done, func() error {
		client, err := sarama.NewClient([]string{s.addr}, config())
		if err != nil {
			return fmt.Errorf("asking it for metadata: %w", err)
		}
		defer client.Close() //nolint:errcheck // nothing is lost
		if !slices.ContainsFunc(client.Brokers(), func(b *sarama.Broker) bool { return b.Addr() == s.addr }) {
			return errNotReady
		}
		return nil
	})
}

var errOver = errors.New("its process ended")

// until asks again until there is no error. It gives up with the last one when ctx ends or over is closed.
func until(ctx context.Context, over <-chan struct{}, ask func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-over:
			return errOver
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}
