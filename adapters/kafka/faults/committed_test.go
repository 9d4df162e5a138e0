package faults_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
)

// committed yields the ids of the committed messages that are on a topic now.
func committed(t *testing.T, addr, topic string) iter.Seq[string] {
	t.Helper()
	return func(yield func(string) bool) {
		sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: kafka.Cluster{Brokers: []string{addr}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ids, done := make(chan string, 100), make(chan struct{})
		go func() {
			defer close(done)
			err := sub.Follow(ctx, []string{topic}, func(c adapters.Claim) {
				for {
					run, err := c.Next(make([]*adapters.Record, 0, 100))
					for i := range run {
						select {
						case ids <- run[i].ID:
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
			close(ids)
		}()
		for id := range ids {
			if !yield(id) {
				cancel()
				for range ids {
					continue // the reader is to end
				}
				return
			}
		}
	}
}
