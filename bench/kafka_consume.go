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

// bareSubscribe hands messages to one reader as Watermill's contract has it, and does nothing beside: a message with the key in
// its metadata, a context that can end, an unbuffered channel, an acknowledgement to wait for. It keeps no order, loses what a
// rebalance interrupts, and repeats nothing that is nacked.
func bareSubscribe(ctx context.Context, k *cluster, topic, group string, l *ledger) (func() error, error) {
	const inFlight = 64
	out := make(chan *message.Message)
	go func() {
		for m := range out {
			l.mark(m.Payload)
			m.Ack()
		}
	}()
	type flight struct {
		record *sarama.ConsumerMessage
		msg    *message.Message
		end    context.CancelFunc
	}
	read := func(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
		flying := make([]flight, 0, inFlight)
		for r := range c.Messages() {
			m := message.NewMessage(string(r.Key), r.Value)
			m.Metadata[channel.HeaderKey] = m.UUID
			mctx, end := context.WithCancel(s.Context())
			m.SetContext(mctx)
			out <- m
			flying = append(flying, flight{r, m, end})
			if len(flying) < inFlight && len(c.Messages()) > 0 {
				continue
			}
			for _, f := range flying {
				<-f.msg.Acked()
				f.end()
				s.MarkMessage(f.record, "")
			}
			flying = flying[:0]
		}
		return nil
	}
	stop, err := k.consume(ctx, topic, group, read, l.finish)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer close(out)
		return stop()
	}, nil
}
