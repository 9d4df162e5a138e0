package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/flow"
)

// spend lets d pass, as a handler does that waits for somebody else.
func spend(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// waitRow reads with a handler that takes d. Messages of one key must follow each other, which is checked.
// Each contestant gets about three seconds of work at the rate it had when the row was written.
func waitRow(k *cluster, d time.Duration, partitions int, rivals int, ours ...measure.Ours) measure.Row {
	return measure.Row{
		Name:  fmt.Sprintf("Kafka, consume, a handler of %v, %s, 1,000 keys", d, plural(partitions, "partition")),
		Needs: k.need,
		Rival: &measure.Contestant{
			Name: "watermill-kafka on a Watermill router", Count: rivals,
			Open: k.reads(partitions, true, routed(rivalSubscriber, d)),
		},
		Ours: ours,
	}
}

func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// routed is a Watermill router with a handler that takes d; one of 0 only counts.
func routed(of subscriberOf, d time.Duration) beginner {
	return func(ctx context.Context, k *cluster, topic, group string, l *ledger) (func() error, error) {
		s, err := of(k, group)
		if err != nil {
			return nil, err
		}
		r := message.NewDefaultRouter(watermill.NopLogger{})
		r.AddConsumerHandler("wait", topic, s, func(m *message.Message) error {
			if d == 0 {
				l.mark(m.Payload)
			} else {
				l.during(m.Payload, func() { spend(ctx, d) })
			}
			return nil
		})
		return running(ctx, r)
	}
}

const (
	millisecond = time.Millisecond
	ten         = 10 * time.Millisecond
)

// everyKey is as many workers as there are keys in a row: no key waits for another.
const everyKey = keyCount

// millisecondRow has 256 workers a partition.
func millisecondRow(k *cluster) measure.Row {
	const workers = 256
	return waitRow(k, millisecond, partitions, 10_000,
		waiting(k, "flow.Run, 256 workers", partitions, 300_000, ourFlow(millisecond, flow.Workers(workers)), measure.Must{Rival: 30}),
		waiting(k, "kafka.Subscriber on a Watermill router, 256 lanes", partitions, 150_000, routed(ourSubscriber, millisecond), measure.Must{Why: whyRouters}))
}

// tenMillisecondsRow has a worker a key.
func tenMillisecondsRow(k *cluster) measure.Row {
	return waitRow(k, ten, 1, 300,
		waiting(k, "flow.Run, 1,000 workers", 1, 45_000, ourFlow(ten, flow.Workers(everyKey)), measure.Must{Rival: 100}),
		waiting(k, "kafka.Subscriber on a Watermill router, 1,000 lanes", 1, 30_000, routed(laned(everyKey), ten), measure.Must{Why: whyRouters}))
}

const whyRouters = "the router's own cost a message is not ours to cut; what is asked is asked of flow.Run"

func waiting(k *cluster, name string, partitions, count int, begin beginner, must measure.Must) measure.Ours {
	return measure.Ours{Contestant: measure.Contestant{Name: name, Count: count, Open: k.reads(partitions, true, begin)}, Must: must}
}
