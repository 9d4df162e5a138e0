package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kfake" //nolint:depguard // a broker in the process, for whoever has none; the library never imports it

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// ends are a broker as the pipeline needs it.
type ends struct {
	name   string // of the broker
	prefix string // of topics and groups
	hops   bool   // between steps go over it; false: in the process
	pub    message.Publisher
	sub    message.Subscriber
	desk   message.Subscriber // of dead letters
	lag    func(topic string) int64
	close  func() error
}

// openEnds opens the broker that c.Broker names, "" for one in memory. With c.Graph it opens none.
func openEnds(c config, log io.Writer) (*ends, error) {
	if c.Broker == "" {
		b := &memory.Broker{}
		return &ends{pub: b.Publisher(), sub: b.Subscriber("webhooks"), desk: b.Subscriber("desk"), close: b.Close}, nil
	}
	address, prefix, err := kafkaAddress(c.Broker)
	if err != nil {
		return nil, err
	}
	if c.Graph {
		return &ends{hops: true, close: func() error { return nil }}, nil
	}
	if address != "" {
		return openKafka("Kafka at "+address, address, prefix, log)
	}
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(onThisMachine))
	if err != nil {
		return nil, fmt.Errorf("starting a Kafka in the process: %w", err)
	}
	e, err := openKafka("a Kafka in the process", fake.ListenAddrs()[0], "", log)
	if err != nil {
		fake.Close()
		return nil, err
	}
	shut := e.close
	e.close = func() error {
		defer fake.Close()
		return shut()
	}
	return e, nil
}

// kafkaAddress reads "kafka:", which is no address, or "kafka://host:port/prefix".
func kafkaAddress(broker string) (address, prefix string, err error) {
	u, err := url.Parse(broker)
	switch {
	case err != nil, u.Scheme != "kafka", u.User != nil, u.RawQuery != "", u.Fragment != "", u.Opaque != "":
		return "", "", errors.New("want kafka://host:port, or kafka: for one in the process")
	case u.Host == "" && (u.Path != "" || strings.Contains(broker, "//")):
		return "", "", errors.New("it names no host:port; kafka: alone is a Kafka in the process")
	case u.Host == "":
		return "", "", nil
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" {
		return "", "", errors.New("its host:port has no port, such as 9092")
	}
	return u.Host, strings.TrimPrefix(u.Path, "/"), nil
}

// onThisMachine has the fake listen where nobody else reaches it.
func onThisMachine(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return net.Listen(network, net.JoinHostPort("127.0.0.1", port)) //nolint:noctx,wrapcheck // It does not wait, and names the address.
}

// After a signal there are 5 s in all, even if the broker is gone.
const (
	sendTimeout  = 2 * time.Second
	drainTimeout = time.Second
)

// openKafka makes a publisher and a subscriber. Neither connects before it is used.
func openKafka(name, address, prefix string, log io.Writer) (*ends, error) {
	cluster := kafka.Cluster{
		Brokers: []string{address}, ClientID: "webhooks", DialTimeout: drainTimeout,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	// A line of the input may have a megabyte, and what is made of it more.
	large := channel.Limits{Body: 2 * maxLine}
	create := &kafka.Create{Partitions: 3, Config: map[string]string{"max.message.bytes": "4194304"}}
	pub, err := kafka.NewPublisher(kafka.PublisherConfig{
		Cluster: cluster, SendTimeout: sendTimeout, Limits: large, Create: create,
	})
	if err != nil {
		return nil, fmt.Errorf("-broker: %w", err)
	}
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Cluster: cluster, Group: prefix + "webhooks", DrainTimeout: drainTimeout, Limits: large, Create: create,
	})
	if err != nil {
		return nil, fmt.Errorf("-broker: %w", err)
	}
	return &ends{
		name: name, prefix: prefix, hops: true, pub: pub, sub: sub, desk: sub.Group(prefix + "webhooks.desk"), lag: sub.Lag,
		close: func() error { return errors.Join(sub.Close(), pub.Close()) },
	}, nil
}

// lags reports whether something is left on one of the topics.
func (e *ends) lags(topics []string) bool {
	return slices.ContainsFunc(topics, func(t string) bool { return e.lag(t) > 0 })
}
