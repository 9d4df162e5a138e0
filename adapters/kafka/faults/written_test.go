package faults_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
)

// What a reader of a topic sees, as SubscriberConfig.ReadUncommitted.
const (
	committed = false
	all       = true // what transactions have not committed, or aborted, too
)

// written yields the messages that are on a topic now, those of a partition in their order.
func written(t *testing.T, addr, topic string, sees bool) iter.Seq[*adapters.Record] {
	t.Helper()
	return func(yield func(*adapters.Record) bool) {
		sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: kafka.Cluster{Brokers: []string{addr}}, ReadUncommitted: sees})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		rs, done := make(chan *adapters.Record, 100), make(chan struct{})
		go func() {
			defer close(done)
			err := sub.Follow(ctx, []string{topic}, func(c adapters.Claim) {
				for {
					run, err := c.Next(make([]*adapters.Record, 0, 100))
					for i := range run {
						select {
						case rs <- run[i]:
						case <-ctx.Done():
							return
						}
					}
					c.Finish(run)
					if err != nil {
						return
					}
				}
			}, cancel)
			if err != nil {
				t.Error(err)
			}
		}()
		go func() {
			<-done
			if ctx.Err() == context.DeadlineExceeded {
				t.Error("a topic was not read to its end within a minute")
			}
			close(rs)
		}()
		for r := range rs {
			if !yield(r) {
				cancel()
				for range rs {
					continue // the reader is to end
				}
				return
			}
		}
	}
}
