package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"
)

// rawConfig is the client as it comes, but for what makes the comparison fair: it waits for all replicas,
// produces idempotently, and begins with the oldest message.
func rawConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "raw"
	c.Version = sarama.V2_8_0_0
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	return c
}

// A rawProducer is an asynchronous producer with somebody who reads what becomes of messages.
type rawProducer struct {
	sarama.AsyncProducer

	reading sync.WaitGroup
	failed  atomic.Pointer[sarama.ProducerError]
}

// produce starts a producer. Successes are handed to done, one by one.
func (k *cluster) produce(done func(*sarama.ProducerMessage), failed func(*sarama.ProducerError)) (*rawProducer, error) {
	p, err := sarama.NewAsyncProducer([]string{k.address}, rawConfig())
	if err != nil {
		return nil, fmt.Errorf("starting a producer: %w", err)
	}
	r := &rawProducer{AsyncProducer: p}
	r.reading.Go(func() {
		for m := range p.Successes() {
			done(m)
		}
	})
	r.reading.Go(func() {
		for e := range p.Errors() {
			r.failed.CompareAndSwap(nil, e)
			failed(e)
		}
	})
	return r, nil
}

func (r *rawProducer) err() error {
	if e := r.failed.Load(); e != nil {
		return fmt.Errorf("producing: %w", e)
	}
	return nil
}

func (r *rawProducer) end() error {
	r.AsyncClose()
	r.reading.Wait()
	return r.err()
}

// A rawReader reads one partition.
type rawReader func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error

// Setup does nothing.
func (rawReader) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup does nothing.
func (rawReader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads.
func (f rawReader) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	return f(s, c)
}

// consume is one member of a group until the function it returns is called.
func (k *cluster) consume(ctx context.Context, topic, group string, read rawReader, failed func(error)) (end func() error, err error) {
	g, err := sarama.NewConsumerGroup([]string{k.address}, group, rawConfig())
	if err != nil {
		return nil, fmt.Errorf("joining group %s: %w", group, err)
	}
	ctx, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, read); err != nil && !errors.Is(err, context.Canceled) {
				failed(err)
				return
			}
		}
	})
	return func() error {
		stop()
		reading.Wait()
		return g.Close()
	}, nil
}
