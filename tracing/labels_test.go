package tracing_test

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// labels gives the attribute names of every instrument that x has measured with.
func labels(t *testing.T, x *leattest.Traces) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	for _, scope := range x.Metrics(t).ScopeMetrics {
		for _, m := range scope.Metrics {
			var sets []attribute.Set
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			}
			names := map[string]bool{}
			for _, set := range sets {
				for _, kv := range set.ToSlice() {
					names[string(kv.Key)] = true
				}
			}
			all[m.Name] = names
		}
	}
	return all
}

// Breaks if a metric has a label that the page does not name, or if an instrument is never used.
func TestDocsHaveTheLabelsThatAreThere(t *testing.T) {
	code := regexp.MustCompile("`([^`]+)`")
	said := map[string]map[string]bool{}
	for _, row := range tables(t)["metric"] {
		names := map[string]bool{}
		for _, m := range code.FindAllStringSubmatch(row[1], -1) {
			names[m[1]] = true
		}
		for _, m := range code.FindAllStringSubmatch(row[0], -1) {
			said[m[1]] = names
		}
	}
	for name, there := range measured(t) {
		if len(there) == 0 {
			t.Errorf("%s was never measured: the test looks at too little", name)
		}
		for label := range there {
			if !said[name][label] {
				t.Errorf("%s has the label %s, and not on the page", name, label)
			}
		}
		for label := range said[name] {
			if !there[label] && !slices.Contains([]string{"messaging.destination.template", "eip.inlet"}, label) {
				t.Errorf("%s has no label %s", name, label)
			}
		}
		delete(said, name)
	}
	for name := range said {
		t.Errorf("nothing measures %s", name)
	}
}

// measured gives the labels of a flow that uses every instrument. It still runs, for then it tells its lag.
func measured(t *testing.T) (all map[string]map[string]bool) {
	t.Helper()
	x := &leattest.Traces{}
	const in, hop, group, end channel.Topic[string] = "in", "hop", "group", "end"
	synctest.Test(t, func(t *testing.T) {
		f, err := flow.New("f",
			flow.Step("split", in, splitter{hop, group}),
			flow.Step("do", hop, endpoint.Do(func(_ context.Context, s string) error {
				if s == "bad" {
					return errors.New("bad")
				}
				return nil
			})),
			flow.Step("group", group, &aggregator.Aggregator[string, string]{
				Correlate: func(s string) string { return s }, Combine: func(k string, _ []string) (string, error) { return k, nil },
				To: end, Timeout: time.Hour, Store: &aggregator.Memory{},
			}),
			flow.Direct(group), flow.Policy{DeadLetter: "dead"}, flow.Tracing(x.Config()),
			flow.Logger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		broker := &memory.Broker{}
		defer broker.Close()
		pub := broker.Publisher()
		h, err := f.Start(t.Context(), failsOnce(pub), broker.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"good", "bad", "nothing"} {
			if err := pub.Publish("in", message.NewMessage(body, []byte(`"`+body+`"`))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		stop := tracing.New(x.Config(), "kafka").Meter().Reader(tracing.Reader{
			Group:  "g",
			Topics: func() []tracing.ReaderTopic { return []tracing.ReaderTopic{{Topic: "in", Partitions: 1}} },
			Counts: func() tracing.ReaderCounts { return tracing.ReaderCounts{Parked: 1} },
		})
		defer stop()
		all = labels(t, x)
		h.Stop()
	})
	return all
}

// A splitter sends what comes two ways, and drops what is nothing.
type splitter struct{ a, b channel.Topic[string] }

func (s splitter) Process(m channel.Message[string]) (channel.Result, error) {
	if strings.HasPrefix(m.Body, "nothing") {
		return channel.Drop("nothing"), nil
	}
	return channel.Send(channel.Forward(s.a, m), channel.Forward(s.b, m)), nil
}

func (s splitter) Shape() channel.Shape {
	return channel.Shape{Outlets: []channel.Outlet{channel.Out("a", s.a), channel.Out("b", s.b)}}
}

// failing is a publisher whose first publish fails.
type failing struct {
	message.Publisher

	failed atomic.Bool
}

func failsOnce(pub message.Publisher) message.Publisher { return &failing{Publisher: pub} }

func (f *failing) Publish(topic string, ms ...*message.Message) error {
	if f.failed.CompareAndSwap(false, true) {
		return errors.New("on purpose")
	}
	return f.Publisher.Publish(topic, ms...)
}
