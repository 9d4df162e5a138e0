package tracing

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// An Account is the accounting of one step. It is read when somebody collects, so that counting costs a
// message nothing.
type Account struct {
	Flow, Step string
	Read       func() Book
	// Open gives how many groups are open, below zero if nobody is to know. Nil: the step keeps none.
	Open func(ctx context.Context) (int64, error)
}

// A Book is what an Account says. Received = the sum of Outcomes + InFlight.
type Book struct {
	Received, InFlight                                 int64
	Outcomes                                           map[string]int64 // but dropped
	Dropped                                            map[string]int64 // by reason, of which there are few
	Released, Retries, Later, Redelivered, Fired, Lost int64
}

// Account has the accounts of a flow observed, for as long as the provider lives: what was counted is not
// uncounted when the flow ends.
func (m *Meter) Account(accounts []Account) {
	c := func(name, description string) metric.Int64ObservableCounter {
		x, err := m.meter.Int64ObservableCounter(name, metric.WithUnit("{message}"), metric.WithDescription(description))
		handle(err)
		return x
	}
	received := c(Received, "Messages that came to a step.")
	outcomes := c(Outcomes, "What the messages that came to a step came to.")
	released := c(Released, "Messages that were held in a store and have left it.")
	retries := c(Retries, "Attempts after the first.")
	later := c(Laters, "Pauses that are no message's fault and count as no attempt.")
	redelivered := c(Redelivered, "Messages received that had been delivered before.")
	fired := c(Fired, "Due keys of clocks.")
	lost := c(Lost, "Best-effort deliveries that were lost.")
	inFlight, err := m.meter.Int64ObservableUpDownCounter(InFlight, metric.WithUnit("{message}"),
		metric.WithDescription("Messages received that have come to nothing yet."))
	handle(err)
	open, err := m.meter.Int64ObservableUpDownCounter(OpenGroups, metric.WithUnit("{group}"),
		metric.WithDescription("Groups that wait to be complete."))
	handle(err)
	observe := func(ctx context.Context, o metric.Observer) error {
		for i := range accounts {
			a := &accounts[i]
			b, step := a.Read(), [2]attribute.KeyValue{attribute.String(Flow, a.Flow), attribute.String(Step, a.Step)}
			with := func(kvs ...attribute.KeyValue) metric.ObserveOption {
				return metric.WithAttributeSet(attribute.NewSet(append(kvs, step[:]...)...))
			}
			plain := with()
			for name, n := range b.Outcomes {
				o.ObserveInt64(outcomes, n, with(attribute.String(Outcome, name)))
			}
			for reason, n := range b.Dropped {
				o.ObserveInt64(outcomes, n, with(attribute.String(Outcome, "dropped"), attribute.String(Reason, Text(reason))))
			}
			o.ObserveInt64(received, b.Received, plain)
			o.ObserveInt64(inFlight, b.InFlight, plain)
			o.ObserveInt64(released, b.Released, plain)
			o.ObserveInt64(retries, b.Retries, plain)
			o.ObserveInt64(later, b.Later, plain)
			o.ObserveInt64(redelivered, b.Redelivered, plain)
			o.ObserveInt64(fired, b.Fired, plain)
			o.ObserveInt64(lost, b.Lost, plain)
			if a.Open == nil {
				continue
			}
			n, err := a.Open(ctx)
			if err != nil { // one store that is down takes nobody else's figures away
				handle(fmt.Errorf("counting the open groups of step %s of flow %s: %w", a.Step, a.Flow, err))
				continue
			}
			if n >= 0 {
				o.ObserveInt64(open, n, plain)
			}
		}
		return nil
	}
	_, err = m.meter.RegisterCallback(observe, received, outcomes, released, retries, later, redelivered, fired, lost, inFlight, open)
	handle(err)
}

// A Backlog is what a consumer group has not finished of a topic.
type Backlog struct {
	Topic, Group string
	Read         func() int64
}

// Backlogs has the lag of subscriptions observed until stop is called.
func (m *Meter) Backlogs(backlogs []Backlog) (stop func()) {
	lag, err := m.meter.Int64ObservableGauge(Lag, metric.WithUnit("{message}"),
		metric.WithDescription("Messages of a topic that a consumer group has not finished."))
	handle(err)
	sets := make([]metric.ObserveOption, len(backlogs))
	for i, b := range backlogs {
		sets[i] = metric.WithAttributes(m.system, attribute.String(Destination, b.Topic), attribute.String(ConsumerGroup, b.Group))
	}
	r, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range backlogs {
			o.ObserveInt64(lag, backlogs[i].Read(), sets[i])
		}
		return nil
	}, lag)
	handle(err)
	return func() {
		if r != nil {
			handle(r.Unregister())
		}
	}
}

// handle tells OpenTelemetry's error handler: what cannot be measured stops nobody's work.
func handle(err error) {
	if err != nil {
		otel.Handle(err)
	}
}
