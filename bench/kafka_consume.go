package main

import (
	"context"
	"errors"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
)

// enough is how many messages a measurement of readers has: joining a group takes a second at worst, and
// must not count.
const enough = 600_000

// A beginner begins to read a topic and marks every message that is done with, until end is called.
type beginner func(ctx context.Context, k *cluster, topic, group string, l *ledger) (end func() error, err error)

// reads is the work of reading a topic. Each run has a group of its own, which begins with the first
// message. Ordered runs see that messages of a key follow each other.
func (k *cluster) reads(partitions int, ordered bool, begin beginner) opener {
	return func(ctx context.Context) (measure.Load, error) {
		ctx = context.WithoutCancel(ctx) // it ends when it is closed, in good order
		var before int64
		var topic string
		l, end := newLedger(0), func() error { return nil }
		stop := func() error {
			err := end()
			end = func() error { return nil }
			return err
		}
		return measure.Load{
			Ready: func(ctx context.Context, n int) (err error) {
				before += l.came()
				if l = newLedger(n); ordered {
					l.watch()
				}
				topic, err = k.with(ctx, n, partitions)
				_, none := k.nothing(ctx) // to make a topic is no part of reading one
				return errors.Join(stop(), err, none)
			},
			Run: func(until context.Context, _ int) error {
				e, err := begin(ctx, k, topic, k.name("group"), l)
				if err != nil {
					return err
				}
				end = e
				return l.wait(until)
			},
			Done:  func() int64 { return before + l.came() },
			Check: func(context.Context) error { return l.check() },
			Close: stop,
		}, nil
	}
}

// consumeRow reads 256 bytes from four partitions and does nothing.
func consumeRow(k *cluster) measure.Row {
	return measure.Row{
		Name:    "Kafka, consume, a handler that does nothing",
		Needs:   k.need,
		Count:   enough,
		Ceiling: &measure.Contestant{Name: "sarama, consumer group", Open: k.reads(partitions, false, rawConsume)},
		Rival:   &measure.Contestant{Name: "watermill-kafka, no router", Open: k.reads(partitions, false, subscribed(rivalSubscriber))},
		Ours:    ourConsumers(k),
	}
}

func rawConsume(ctx context.Context, k *cluster, topic, group string, l *ledger) (func() error, error) {
	read := func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
		for m := range c.Messages() {
			l.mark(m.Value)
			s.MarkMessage(m, "")
		}
		return nil
	}
	return k.consume(ctx, topic, group, read, l.finish)
}

const whyLeast = "shows what Watermill's contract costs by itself: a message, its context, a channel, an acknowledgement"

// A bareSubscriber hands over messages as Watermill's contract has it, and does nothing beside: a message with the key in its
// metadata, a context that can end, an unbuffered channel, an acknowledgement to wait for. It keeps no order, loses what a
// rebalance interrupts, and repeats nothing that is nacked.
type bareSubscriber struct {
	k        *cluster
	group    string
	inFlight int // of each partition

	stop func() error
	out  chan *message.Message
}

func bare(inFlight int) subscriberOf {
	return func(k *cluster, group string) (message.Subscriber, error) {
		return &bareSubscriber{k: k, group: group, inFlight: inFlight}, nil
	}
}

// Subscribe begins to read.
func (b *bareSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	b.out = make(chan *message.Message)
	var err error
	b.stop, err = b.k.consume(ctx, topic, b.group, b.read, func(error) {})
	return b.out, err
}

func (b *bareSubscriber) read(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	type flight struct {
		record *sarama.ConsumerMessage
		msg    *message.Message
		end    context.CancelFunc
	}
	flying := make([]flight, 0, b.inFlight)
	mark := func(n int) {
		for _, f := range flying[:n] {
			select {
			case <-f.msg.Acked():
				s.MarkMessage(f.record, "")
			case <-s.Context().Done():
			}
			f.end()
		}
		flying = flying[:copy(flying, flying[n:])]
	}
	defer func() { mark(len(flying)) }()
	for r := range c.Messages() {
		m := message.NewMessage(string(r.Key), r.Value)
		m.Metadata[channel.HeaderKey] = m.UUID
		ctx, end := context.WithCancel(s.Context())
		m.SetContext(ctx)
		select {
		case b.out <- m:
		case <-s.Context().Done():
			end()
			return nil
		}
		if flying = append(flying, flight{r, m, end}); len(flying) == b.inFlight {
			mark(b.inFlight / 2)
		}
	}
	return nil
}

// Close ends it.
func (b *bareSubscriber) Close() error {
	if b.stop == nil {
		return nil
	}
	defer close(b.out)
	return b.stop()
}
