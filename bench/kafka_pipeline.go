package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/flow"
)

// A route is a way from one topic to three, by what is in a message.
type route struct {
	in, dead, group string
	out             [3]string
}

// A relay passes messages on along a route until end is called. done counts those that are through: they
// are published, and their sources are finished.
type relay func(ctx context.Context, k *cluster, r *route) (done func() int64, end func() error, err error)

// relays is the work of a relay. Behind each run the outlets are read: they must have every message once,
// and those of a key in order.
func (k *cluster) relays(begin relay) opener {
	return func(ctx context.Context) (measure.Load, error) {
		ctx = context.WithoutCancel(ctx) // it ends when it is closed, in good order
		var (
			before int64
			n      int
			r      *route
			end    func() error
		)
		done := func() int64 { return 0 }
		stop := func() (err error) {
			if end != nil {
				err = end()
			}
			if r != nil {
				err = errors.Join(err, k.remove(r.dead, r.out[0], r.out[1], r.out[2]))
			}
			end, r = nil, nil
			return err
		}
		return measure.Load{
			Ready: func(ctx context.Context, count int) (err error) {
				before += done()
				done, n = func() int64 { return 0 }, count
				if err := stop(); err != nil {
					return err
				}
				r, err = k.route(ctx, n)
				return err
			},
			Run: func(until context.Context, _ int) (err error) {
				if done, end, err = begin(ctx, k, r); err != nil {
					done = func() int64 { return 0 }
					return err
				}
				return reach(until, int64(n), done)
			},
			Done:  func() int64 { return before + done() },
			Check: func(ctx context.Context) error { return k.holds(ctx, n, r.out[:]...) },
			Close: stop,
		}, nil
	}
}

// route makes the topics of a route over n messages.
func (k *cluster) route(ctx context.Context, n int) (*route, error) {
	in, err := k.with(ctx, n, partitions)
	r := &route{in: in, group: k.name("group")}
	errs := []error{err}
	for i := range r.out {
		r.out[i], err = k.topic(ctx, "out", partitions)
		errs = append(errs, err)
	}
	r.dead, err = k.topic(ctx, "dead", partitions)
	return r, errors.Join(append(errs, err)...)
}

// reach waits until a count has come to n.
func reach(ctx context.Context, n int64, count func() int64) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for count() < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages are through: %w", count(), n, context.Cause(ctx))
		}
	}
	return nil
}

// pipelineRow reads, routes by content and publishes, and then acknowledges. Producers are idempotent, but
// for the rival's.
func pipelineRow(k *cluster) measure.Row {
	const rivals = 20_000
	return measure.Row{
		Name:    "Kafka, pipeline: read, route by content, publish, acknowledge",
		Needs:   k.need,
		Count:   enough,
		Ceiling: &measure.Contestant{Name: "sarama, consumer group and AsyncProducer", Open: k.relays(rawRelay)},
		Rival:   &measure.Contestant{Name: "watermill-kafka on a Watermill router", Count: rivals, Open: k.relays(rivalRelay)},
		Ours: []measure.Ours{
			{Contestant: measure.Contestant{Name: "flow.Run", Open: k.relays(flowRelay(kafka.Snappy))}, Must: measure.Must{Ceiling: 0.8}},
			{Contestant: measure.Contestant{Name: "flow.Run, Uncompressed", Open: k.relays(flowRelay(kafka.Uncompressed))}, Must: measure.Must{Why: whyBare}},
			{Contestant: measure.Contestant{Name: "AddTo", Open: k.relays(routerRelay)}, Must: measure.Must{Ceiling: 0.45}},
			{Contestant: measure.Contestant{Name: "the least that AddTo can be", Open: k.relays(bareRelay)}, Must: measure.Must{Why: whyLeast}},
		},
	}
}

// exactlyOnceRow is the same with transactions, beside ours without.
func exactlyOnceRow(k *cluster) measure.Row {
	return measure.Row{
		Name:    "Kafka, pipeline, exactly once",
		Needs:   k.need,
		Count:   enough,
		Ceiling: &measure.Contestant{Name: "flow.Run, at least once", Open: k.relays(flowRelay(kafka.Snappy))},
		Ours: []measure.Ours{{
			Contestant: measure.Contestant{Name: "flow.Run, flow.ExactlyOnce", Open: k.relays(flowRelay(kafka.Snappy, flow.ExactlyOnce()))},
			Must:       measure.Must{Ceiling: 0.5},
		}},
	}
}

// rawRelay waits for nothing and marks in whatever order results come.
func rawRelay(ctx context.Context, k *cluster, r *route) (func() int64, func() error, error) {
	var through atomic.Int64
	var session atomic.Pointer[sarama.ConsumerGroupSession]
	p, err := k.produce(func(m *sarama.ProducerMessage) {
		(*session.Load()).MarkMessage(m.Metadata.(*sarama.ConsumerMessage), "") //nolint:forcetypeassert // It is what read gave.
		through.Add(1)
	}, func(*sarama.ProducerError) {})
	if err != nil {
		return nil, nil, err
	}
	read := func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
		session.Store(&s)
		for m := range c.Messages() {
			p.Input() <- &sarama.ProducerMessage{
				Topic: r.out[region(m.Value)], Key: sarama.ByteEncoder(m.Key), Value: sarama.ByteEncoder(m.Value), Metadata: m,
			}
		}
		return nil
	}
	stop, err := k.consume(ctx, r.in, r.group, read, func(error) {})
	if err != nil {
		return nil, nil, errors.Join(err, p.end())
	}
	return through.Load, func() error { return errors.Join(stop(), p.end()) }, nil
}

// bareRelay is a Watermill router over a bareSubscriber, whose handlers wait for an AsyncProducer: as many at once as have
// keys of their own.
func bareRelay(ctx context.Context, k *cluster, r *route) (func() int64, func() error, error) {
	var through atomic.Int64
	p, err := k.produce(func(m *sarama.ProducerMessage) {
		m.Metadata.(chan error) <- nil //nolint:forcetypeassert // It is what the handler gave.
	}, func(e *sarama.ProducerError) {
		e.Msg.Metadata.(chan error) <- e.Err //nolint:forcetypeassert // It is what the handler gave.
	})
	if err != nil {
		return nil, nil, err
	}
	s := &bareSubscriber{k: k, group: r.group, inFlight: keyCount / partitions}
	router := message.NewDefaultRouter(watermill.NopLogger{})
	router.AddConsumerHandler("by-region", r.in, s, func(m *message.Message) error {
		done := make(chan error, 1)
		p.Input() <- &sarama.ProducerMessage{
			Topic: r.out[region(m.Payload)], Key: sarama.StringEncoder(m.UUID), Value: sarama.ByteEncoder(m.Payload), Metadata: done,
		}
		if err := <-done; err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		through.Add(1)
		return nil
	})
	end, err := running(ctx, router)
	if err != nil {
		return nil, nil, errors.Join(err, p.end())
	}
	return through.Load, func() error { return errors.Join(end(), p.end()) }, nil
}

// rivalRelay is a handler that publishes where the message says.
func rivalRelay(ctx context.Context, k *cluster, r *route) (func() int64, func() error, error) {
	p, err := rivalPublisher(k)
	if err != nil {
		return nil, nil, err
	}
	s, err := rivalSubscriber(k, r.group)
	if err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	var through atomic.Int64
	router := message.NewDefaultRouter(watermill.NopLogger{})
	router.AddConsumerHandler("by-region", r.in, s, func(m *message.Message) error {
		if err := p.Publish(r.out[region(m.Payload)], m); err != nil {
			return fmt.Errorf("publishing: %w", err)
		}
		through.Add(1)
		return nil
	})
	end, err := running(ctx, router)
	if err != nil {
		return nil, nil, errors.Join(err, p.Close())
	}
	return through.Load, func() error { return errors.Join(end(), p.Close()) }, nil
}
