package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A batch that expands beyond the limit comes as one record that is no message; what is before and behind it,
// and in other partitions, comes as ever, once.
func TestRefusedBatch(t *testing.T) {
	for name, addr := range map[string]string{"fake": kafkatest.Addr(kafkatest.Fake(t)), "real": kafkatest.Shared(t).Addr()} {
		t.Run(name, func(t *testing.T) {
			topic := kafkatest.Topic(t, addr, 2)
			put := putter(t, addr, topic)
			put(0, 5, 10)
			put(0, 1, 60<<20)
			put(0, 5, 10)
			put(1, 5, 10)
			s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: topic})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			type seen struct {
				origin string
				err    error
			}
			got := make(chan seen)
			go func() {
				defer close(got)
				err := s.Claim(ctx, []string{topic}, func(c adapters.Claim) {
					for {
						run, err := c.Next(make([]*adapters.Record, 0, 10))
						if err != nil {
							return
						}
						for i := range run {
							got <- seen{run[i].Native.(fmt.Stringer).String(), run[i].Err}
						}
						c.Finish(run)
					}
				})
				if err != nil {
					t.Error(err)
				}
			}()
			all := map[string]error{}
			for len(all) < 16 {
				x := <-got
				if err, twice := all[x.origin]; twice {
					t.Errorf("%s came twice (%v)", x.origin, err)
				}
				all[x.origin] = x.err
			}
			for i := range 11 {
				origin := fmt.Sprintf("%s/0/%d", topic, i)
				if err, ok := all[origin]; !ok || (i == 5) != errors.Is(err, kafka.ErrRefused) {
					t.Errorf("%s: %t, %v", origin, ok, err)
				}
			}
			cancel()
			for x := range got {
				t.Errorf("%s came at the end", x.origin)
			}
		})
	}
}

// putter gives what puts n records of a size on a partition, as one batch that compresses well.
func putter(t *testing.T, addr, topic string) func(partition int32, n, size int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.MaxBufferedBytes(1<<30), kgo.ProducerBatchMaxBytes(90<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(partition int32, n, size int) {
		var rs []*kgo.Record
		for range n {
			rs = append(rs, &kgo.Record{Topic: topic, Partition: partition, Value: make([]byte, size)})
		}
		if err := client.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll claims the topic until so many records have come, and gives how many stand for what cannot be read.
func readAll(t *testing.T, addr, topic string, want int) (refused int) {
	t.Helper()
	s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: topic})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex // a claim for each partition
	n := 0
	err := s.Claim(ctx, []string{topic}, func(c adapters.Claim) {
		for {
			run, err := c.Next(make([]*adapters.Record, 0, 1000))
			if err != nil {
				return
			}
			mu.Lock()
			n += len(run)
			for i := range run {
				if errors.Is(run[i].Err, kafka.ErrRefused) {
					refused++
				}
			}
			if n >= want {
				cancel()
			}
			mu.Unlock()
			c.Finish(run)
		}
	})
	if err != nil || n != want {
		t.Errorf("%d records came, want %d: %v", n, want, err)
	}
	return refused
}

// A batch that cannot be read is found behind as many records as one answer of the broker holds, which are many more once
// they are expanded. Breaks if what is looked through is counted in anything but bytes on the way.
func TestRefusedBatchBehindMany(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	put := putter(t, addr, topic)
	for range 40 {
		put(0, 500, 100)
	}
	put(0, 1, 60<<20)
	put(0, 5, 10)
	if n := readAll(t, addr, topic, 20_006); n != 1 {
		t.Errorf("%d records stand for the batch, want 1", n)
	}
}

// A subscription without a group ends at a batch that cannot be read, and says so. Breaks if its channel is closed without a word.
func TestRefusedBatchWithoutAGroup(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	putter(t, addr, topic)(0, 1, 60<<20)
	var log bytes.Buffer // what is written to it is written before the channel is closed
	c := cluster(addr)
	c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	out, err := subscriber(t, kafka.SubscriberConfig{Cluster: c}).Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for m := range out {
		t.Errorf("%s came", m.UUID)
	}
	if !strings.Contains(log.String(), "read with a group") {
		t.Errorf("the subscription has ended, and the log says %q", log.String())
	}
}
