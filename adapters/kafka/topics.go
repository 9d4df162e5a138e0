package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

func noTopic(topic string) error {
	return fmt.Errorf("topic %q: %w: make it, or set Create in the publisher's or subscriber's config", topic, ErrNoTopic)
}

// Ensure connects, and makes the topics that are missing if Create says so; else it gives an ErrNoTopic for
// each.
func (p *Publisher) Ensure(ctx context.Context, topics []string) error {
	conf, err := p.conf.config()
	if err != nil {
		return err
	}
	return ensure(ctx, &p.conf.Cluster, conf, p.conf.Create, topics)
}

// ensure is ensureBy with a client of its own.
func ensure(ctx context.Context, c *Cluster, conf *sarama.Config, create *Create, topics []string) error {
	client, err := c.connect(ctx, conf)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return ensureBy(ctx, client, create, topics)
}

// ensureBy makes the topics that are missing, or says which are.
func ensureBy(ctx context.Context, client sarama.Client, create *Create, topics []string) error {
	missing, err := missingOf(client, topics, create != nil)
	if err != nil || len(missing) == 0 {
		return err
	}
	if create == nil {
		errs := make([]error, len(missing))
		for i, t := range missing {
			errs[i] = noTopic(t)
		}
		return errors.Join(errs...)
	}
	for _, t := range missing {
		if err := create.make(client, t); err != nil {
			return fmt.Errorf("making topic %q: %w", t, err)
		}
	}
	begun, net := time.Now(), &client.Config().Net
	for n := 1; len(missing) > 0; n++ { // until each partition has a leader; what has one can be used before
		if !sleep(ctx, pause(5*time.Millisecond, 200*time.Millisecond, n)) {
			return fmt.Errorf("waiting for new topics %s: %w", strings.Join(missing, ", "), context.Cause(ctx))
		}
		took := time.Since(begun)
		if missing, err = missingOf(client, missing, took < net.DialTimeout); err != nil {
			return err
		}
		if len(missing) > 0 && took > max(net.DialTimeout, net.ReadTimeout) { // the controller is busy at best
			return fmt.Errorf("waiting for new topics %s: no broker has heard of them within Cluster.ReadTimeout: %w", strings.Join(missing, ", "), context.DeadlineExceeded)
		}
	}
	return nil
}

// missingOf asks a broker which of the topics are not there, or, if it is asked for leaders, not ready.
func missingOf(client sarama.Client, topics []string, leaders bool) (missing []string, err error) {
	if len(topics) == 0 {
		return nil, nil
	}
	resp, err := metadataOf(client, topics)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		switch {
		case errors.Is(t.Err, sarama.ErrUnknownTopicOrPartition), errors.Is(t.Err, sarama.ErrLeaderNotAvailable):
			missing = append(missing, t.Name)
		case !errors.Is(t.Err, sarama.ErrNoError):
			return nil, fmt.Errorf("asking for topic %q: %w", t.Name, t.Err)
		case leaders && slices.ContainsFunc(t.Partitions, func(p *sarama.PartitionMetadata) bool { return p.Leader < 0 }):
			missing = append(missing, t.Name)
		}
	}
	return missing, nil
}

// metadataOf asks a broker what it knows of topics, and if that does not answer every one there is.
func metadataOf(client sarama.Client, topics []string) (*sarama.MetadataResponse, error) {
	resp, err := askForTopics(client, client.LeastLoadedBroker(), topics)
	if err == nil {
		return resp, nil
	}
	_ = client.RefreshMetadata(topics...) // or the client has the same one asked for ever
	for _, b := range client.Brokers() {
		if resp, err = askForTopics(client, b, topics); err == nil {
			return resp, nil
		}
	}
	return nil, err
}

// askForTopics asks one broker. Nil: the client has none.
func askForTopics(client sarama.Client, b *sarama.Broker, topics []string) (*sarama.MetadataResponse, error) {
	if b == nil {
		return nil, fmt.Errorf("asking for topics: %w", sarama.ErrOutOfBrokers)
	}
	if err := b.Open(client.Config()); err != nil && !errors.Is(err, sarama.ErrAlreadyConnected) {
		return nil, fmt.Errorf("asking %s for topics: %w", b.Addr(), err)
	}
	req := sarama.NewMetadataRequest(client.Config().Version, topics)
	req.AllowAutoTopicCreation = false
	resp, err := b.GetMetadata(req)
	if err != nil {
		_ = b.Close() // or it would fail for ever
		return nil, fmt.Errorf("asking %s for topics: %w", b.Addr(), err)
	}
	return resp, nil
}

// refresh has the client look at topics again. That a partition has no leader is no error: it knows the others then.
func refresh(client sarama.Client, topics ...string) error {
	if err := client.RefreshMetadata(topics...); !errors.Is(err, sarama.ErrLeaderNotAvailable) {
		return err //nolint:wrapcheck // The caller says what was being done.
	}
	return nil
}

// make makes a topic. That somebody else made it is no error. The client's own admin would ask for the metadata of
// the topics it knows to find the controller, and here it may know none.
func (c *Create) make(client sarama.Client, topic string) error {
	controller, err := controllerOf(client, topic)
	if err != nil {
		return err
	}
	defer func() { _ = controller.Close() }()
	detail := &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ConfigEntries: map[string]*string{}}
	if c.Partitions > 0 {
		detail.NumPartitions = int32(c.Partitions) //nolint:gosec // wrong has looked at it.
	}
	if c.Replication > 0 {
		detail.ReplicationFactor = int16(c.Replication) //nolint:gosec // As above.
	}
	for k, v := range c.Config {
		detail.ConfigEntries[k] = &v
	}
	conf := client.Config()
	resp, err := controller.CreateTopics(sarama.NewCreateTopicsRequest(conf.Version, map[string]*sarama.TopicDetail{topic: detail}, conf.Admin.Timeout, false))
	if err != nil {
		return err //nolint:wrapcheck // As below.
	}
	result := resp.TopicErrors[topic]
	switch {
	case result == nil:
		return sarama.ErrIncompleteResponse
	case errors.Is(result.Err, sarama.ErrNoError), errors.Is(result.Err, sarama.ErrTopicAlreadyExists):
		return nil
	}
	return result
}

// controllerOf connects to the broker that makes topics.
func controllerOf(client sarama.Client, topic string) (*sarama.Broker, error) {
	resp, err := metadataOf(client, []string{topic})
	if err != nil {
		return nil, err
	}
	for _, b := range resp.Brokers {
		if b.ID() == resp.ControllerID {
			if err := b.Open(client.Config()); err != nil {
				return nil, fmt.Errorf("connecting to the controller: %w", err)
			}
			return b, nil
		}
	}
	return nil, sarama.ErrControllerNotAvailable
}
