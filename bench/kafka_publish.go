package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
)

const partitions = 4

// A shape is how messages are published: by how many callers, each of which waits for as many messages at
// once, and then sends the next.
type shape struct{ callers, batch int }

// counts are how many messages take about two seconds, at the rates the contestants had when the rows were
// written.
func (s shape) counts() (all, rivals int) {
	switch {
	case s.callers > 1:
		return 80_000, 30_000
	case s.batch > 100:
		return 400_000, 8_000
	}
	return 150_000, 8_000
}

func (s shape) String() string {
	if s.callers == 1 {
		return fmt.Sprintf("one caller that waits for each batch of %d", s.batch)
	}
	return fmt.Sprintf("%d callers, each waits for one message", s.callers)
}

const whyBare = "shows what compression costs: the ceiling compresses nothing"

// publishRow sends 256 bytes under 1,000 keys to four partitions.
func publishRow(k *cluster, ids *identities, s shape, must measure.Must) measure.Row {
	count, rivals := s.counts()
	return measure.Row{
		Name:    "Kafka, publish, " + s.String(),
		Needs:   k.need,
		Count:   count,
		Ceiling: &measure.Contestant{Name: "sarama, AsyncProducer", Open: s.raw(k)},
		Rival:   &measure.Contestant{Name: "watermill-kafka", Count: rivals, Open: s.through(k, ids, rivalPublisher)},
		Ours: []measure.Ours{
			{Contestant: measure.Contestant{Name: "kafka.Publisher", Open: s.through(k, ids, ourPublisher)}, Must: must},
			{Contestant: measure.Contestant{Name: "kafka.Publisher, Uncompressed", Open: s.through(k, ids, compressing(kafka.Uncompressed))}, Must: measure.Must{Why: whyBare}},
		},
	}
}

// spread has n messages sent: send gets the first number of a batch and its size, and waits for it. It is
// called by as many callers as the shape has.
func (s shape) spread(ctx context.Context, n, first int, send func(first, size int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var callers sync.WaitGroup
	var next atomic.Int64
	for range s.callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				at := int(next.Add(int64(s.batch))) - s.batch
				if at >= n {
					return
				}
				if err := send(first+at, min(s.batch, n-at)); err != nil {
					stop(err)
				}
			}
		})
	}
	callers.Wait()
	return context.Cause(ctx)
}

// load makes a load of who sends. What it says was sent must be on the topic. It sends one batch
// beforehand: to connect is no part of the work.
func (s shape) load(k *cluster, topic string, send func(first, size int) error, end func() error) (measure.Load, error) {
	var next int
	var sent atomic.Int64
	warm := int64(s.batch)
	err := send(0, s.batch)
	l := measure.Load{
		Run: func(ctx context.Context, n int) error {
			first := next
			next += n
			return s.spread(ctx, n, first, func(first, size int) error {
				if err := send(first, size); err != nil {
					return err
				}
				sent.Add(int64(size))
				return nil
			})
		},
		Done: sent.Load,
		Check: func(context.Context) error {
			n, err := k.length(topic)
			if want := warm + sent.Load(); err == nil && n != want {
				err = fmt.Errorf("%d messages are on the topic, and %d were sent", n, want)
			}
			return err
		},
		Close: func() error { return errors.Join(end(), k.remove(topic)) },
	}
	return l, err
}

func (s shape) raw(k *cluster) opener {
	return func(ctx context.Context) (measure.Load, error) {
		topic, err := k.topic(ctx, "publish", partitions)
		if err != nil {
			return measure.Load{}, err
		}
		done := func(m *sarama.ProducerMessage) { m.Metadata.(*sync.WaitGroup).Done() } //nolint:forcetypeassert // It is what send gave.
		p, err := k.produce(done, func(e *sarama.ProducerError) { done(e.Msg) })
		if err != nil {
			return measure.Load{}, err
		}
		bodies, names := someBodies(), keyNames()
		send := func(first, size int) error {
			var through sync.WaitGroup
			through.Add(size)
			for i := first; i < first+size; i++ {
				p.Input() <- &sarama.ProducerMessage{
					Topic: topic, Key: sarama.StringEncoder(names[i%keyCount]), Value: sarama.ByteEncoder(bodies[i%keyCount]), Metadata: &through,
				}
			}
			through.Wait()
			return p.err()
		}
		return s.load(k, topic, send, p.end)
	}
}

// through is the work of a Watermill publisher.
func (s shape) through(k *cluster, ids *identities, publisher func(*cluster) (message.Publisher, error)) opener {
	return func(ctx context.Context) (measure.Load, error) {
		topic, err := k.topic(ctx, "publish", partitions)
		if err != nil {
			return measure.Load{}, err
		}
		p, err := publisher(k)
		if err != nil {
			return measure.Load{}, err
		}
		bodies, names, id := someBodies(), keyNames(), ids.get()
		send := func(first, size int) error {
			ms := make([]*message.Message, size)
			for i := range ms {
				ms[i] = message.NewMessage(id(first+i), bodies[(first+i)%keyCount])
				ms[i].Metadata[channel.HeaderKey] = names[(first+i)%keyCount]
			}
			return p.Publish(topic, ms...)
		}
		return s.load(k, topic, send, p.Close)
	}
}
