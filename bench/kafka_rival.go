package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	rival "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// rivalMarshaler writes and reads as watermill-kafka does, with the key that ours would have.
func rivalMarshaler() rival.MarshalerUnmarshaler {
	return rival.NewWithPartitioningMarshaler(func(_ string, m *message.Message) (string, error) {
		if key := m.Metadata[channel.HeaderKey]; key != "" {
			return key, nil
		}
		key, _ := rival.MessageKeyFromCtx(m.Context())
		return string(key), nil
	})
}

// rivalPublisher is watermill-kafka's with its defaults: it waits for the leader alone.
func rivalPublisher(k *cluster) (message.Publisher, error) {
	p, err := rival.NewPublisher(rival.PublisherConfig{Brokers: []string{k.address}, Marshaler: rivalMarshaler()}, nil)
	if err != nil {
		return nil, fmt.Errorf("making watermill-kafka's publisher: %w", err)
	}
	return p, nil
}

// rivalSubscriber is watermill-kafka's with its defaults, but that it begins with the oldest message.
func rivalSubscriber(k *cluster, group string) (message.Subscriber, error) {
	c := rival.DefaultSaramaSubscriberConfig()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	s, err := rival.NewSubscriber(rival.SubscriberConfig{
		Brokers: []string{k.address}, ConsumerGroup: group, OverwriteSaramaConfig: c, Unmarshaler: rivalMarshaler(),
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("making watermill-kafka's subscriber: %w", err)
	}
	return s, nil
}

type subscriberOf func(k *cluster, group string) (message.Subscriber, error)

// subscribed acknowledges whatever a subscriber delivers.
func subscribed(of subscriberOf) beginner {
	return func(ctx context.Context, k *cluster, topic, group string, l *ledger) (func() error, error) {
		s, err := of(k, group)
		if err != nil {
			return nil, err
		}
		ctx, stop := context.WithCancel(ctx)
		out, err := s.Subscribe(ctx, topic)
		if err != nil {
			stop()
			return nil, errors.Join(fmt.Errorf("subscribing: %w", err), s.Close())
		}
		over := make(chan struct{})
		go func() {
			defer close(over)
			for m := range out {
				l.mark(m.Payload)
				m.Ack()
			}
			l.finish(errEnded)
		}()
		return func() error {
			err := s.Close()
			stop()
			<-over
			return err //nolint:wrapcheck // It says what it is.
		}, nil
	}
}
