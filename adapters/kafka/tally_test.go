package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// What a subscriber owns, has out and is behind is measured while it reads. Breaks if a claim is not counted,
// or is when it is gone.
func TestInstruments(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 2)
	x := &leattest.Traces{}
	if err := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)}).Publish(topic,
		message.NewMessage("1", nil), message.NewMessage("2", nil), message.NewMessage("3", nil)); err != nil {
		t.Fatal(err)
	}
	s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: topic, Telemetry: x.Config()})
	ctx, cancel := context.WithCancel(t.Context())
	out, goOn := make(chan int), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.Claim(ctx, []string{topic}, func(c adapters.Claim) {
			for {
				run, err := c.Next(make([]*adapters.Record, 0, 10))
				if len(run) > 0 {
					out <- len(run)
					<-goOn
					c.Finish(run)
				}
				if err != nil {
					return
				}
			}
		})
	}()
	flying := 0
	for flying < 3 {
		flying += <-out
	}
	values := measured(t, x)
	for name, want := range map[string]int64{
		tracing.ReaderPartitions: 2, tracing.ReaderInFlight: 3, tracing.ReaderLag: 3, tracing.ReaderRebalances: 1,
	} {
		if values[name] != want {
			t.Errorf("%s is %d, want %d", name, values[name], want)
		}
	}
	close(goOn)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := measured(t, x)[tracing.ReaderPartitions]; got != 0 {
		t.Errorf("%d partitions are owned at the end", got)
	}
}

// Dead letters and what is parked are counted, each by its own name. Breaks if one is taken for the other: the alert on what is
// parked is then silent while a partition stands still.
func TestLettersAndParkedAreMeasured(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id := kgo.RecordHeader{Key: kafka.HeaderID, Value: []byte("1")}
	forged := []kgo.RecordHeader{id, id}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Headers: forged}, &kgo.Record{Headers: forged}, &kgo.Record{}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]int64{
		"with a dead letter": {tracing.ReaderLetters: 3, tracing.ReaderParked: 0, tracing.ReaderRedelivered: 0},
		"without":            {tracing.ReaderLetters: 0, tracing.ReaderParked: 2, tracing.ReaderRedelivered: 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := &leattest.Traces{}
			c := kafka.SubscriberConfig{Cluster: cluster(addr), Group: topic + name, Telemetry: x.Config()}
			buried := want[tracing.ReaderLetters] > 0
			if buried {
				c.MaxAttempts, c.DeadLetter = 1, dead
			}
			messages, err := subscriber(t, c).Subscribe(t.Context(), topic)
			if err != nil {
				t.Fatal(err)
			}
			select {
			case m := <-messages:
				if buried {
					m.Nack()
				} else {
					m.Ack()
				}
			case <-time.After(30 * time.Second):
				t.Fatal("the message does not come within 30s")
			}
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			all := want[tracing.ReaderLetters] + want[tracing.ReaderParked]
			for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
				got := measured(t, x)
				if sum := got[tracing.ReaderLetters] + got[tracing.ReaderParked]; sum < all && time.Now().Before(deadline) {
					continue
				}
				for name, n := range want {
					if got[name] != n {
						t.Errorf("%s is %d, want %d", name, got[name], n)
					}
				}
				return
			}
		})
	}
}

// measured gives the sums of instruments of whole numbers.
func measured(t *testing.T, x *leattest.Traces) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, scope := range x.Metrics(t).ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] += p.Value
				}
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					all[m.Name] += p.Value
				}
			}
		}
	}
	return all
}
