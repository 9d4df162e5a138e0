package kafka_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
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
