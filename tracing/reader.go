package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// A Reader is what a subscriber of an adapter tells of itself. It is asked when somebody collects, so that
// counting costs a message nothing.
type Reader struct {
	Group  string
	Topics func() []ReaderTopic
	Counts func() ReaderCounts
}

// A ReaderTopic is what a subscriber has of one topic.
type ReaderTopic struct {
	Topic                     string
	Partitions, InFlight, Lag int64
	Oldest                    time.Duration
}

// ReaderCounts are what has happened to a subscriber.
type ReaderCounts struct{ Rebalances, Redelivered, DeadLetters, Parked int64 }

// Reader has a subscriber observed until stop is called.
func (m *Meter) Reader(r Reader) (stop func()) {
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		x, err := m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		handle(err)
		return x
	}
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		x, err := m.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		handle(err)
		return x
	}
	partitions := gauge(ReaderPartitions, "{partition}", "Partitions that the subscriber owns.")
	inFlight := gauge(ReaderInFlight, "{message}", "Messages given out and not finished.")
	lag := gauge(ReaderLag, "{message}", "Messages behind what is finished, in the partitions that the subscriber owns.")
	oldest, err := m.meter.Float64ObservableGauge(ReaderOldest, metric.WithUnit("s"), metric.WithDescription("How long the oldest message in flight has been out, about."))
	handle(err)
	rebalances := counter(ReaderRebalances, "{rebalance}", "Sessions begun.")
	again := counter(ReaderRedelivered, "{message}", "Messages delivered to a channel that may have been delivered before.")
	letters := counter(ReaderLetters, "{message}", "Dead letters of a plain subscription.")
	parked := counter(ReaderParked, "{message}", "Records that are no messages and have no dead letter.")
	group := metric.WithAttributes(m.system, attribute.String(ConsumerGroup, r.Group))
	reg, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, t := range r.Topics() {
			with := metric.WithAttributes(m.system, attribute.String(Destination, t.Topic), attribute.String(ConsumerGroup, r.Group))
			o.ObserveInt64(partitions, t.Partitions, with)
			o.ObserveInt64(inFlight, t.InFlight, with)
			o.ObserveInt64(lag, t.Lag, with)
			o.ObserveFloat64(oldest, t.Oldest.Seconds(), with)
		}
		n := r.Counts()
		o.ObserveInt64(rebalances, n.Rebalances, group)
		o.ObserveInt64(again, n.Redelivered, group)
		o.ObserveInt64(letters, n.DeadLetters, group)
		o.ObserveInt64(parked, n.Parked, group)
		return nil
	}, partitions, inFlight, lag, oldest, rebalances, again, letters, parked)
	handle(err)
	return func() {
		if reg != nil {
			handle(reg.Unregister())
		}
	}
}
