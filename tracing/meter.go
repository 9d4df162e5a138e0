package tracing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
)

// A Meter measures what a flow does. Labels come from the flow's declaration alone, so the series are as
// many as it has steps and topics, whatever messages say. For drivers. It is safe for concurrent use.
type Meter struct {
	meter    metric.Meter
	system   attribute.KeyValue
	process  metric.Float64Histogram
	client   metric.Float64Histogram
	sent     metric.Int64Counter
	consumed metric.Int64Counter
}

// buckets are those of the conventions, and two more for what takes no millisecond. In seconds.
func buckets() metric.HistogramOption {
	return metric.WithExplicitBucketBoundaries(0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
}

// meter makes the instruments.
func (t *Telemetry) meter(p metric.MeterProvider) *Meter {
	x := p.Meter(InstrumentationName, metric.WithSchemaURL(semconv.SchemaURL))
	process, e1 := messagingconv.NewProcessDuration(x, buckets())
	client, e2 := messagingconv.NewClientOperationDuration(x, buckets())
	sent, e3 := messagingconv.NewClientSentMessages(x)
	consumed, e4 := messagingconv.NewClientConsumedMessages(x)
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		otel.Handle(fmt.Errorf("making the instruments of a flow: %w", err))
	}
	return &Meter{
		meter: x, system: attribute.String(System, t.system),
		process: process.Inst(), client: client.Inst(), sent: sent.Inst(), consumed: consumed.Inst(),
	}
}

// global is meter for the global provider: nil as long as that makes no measurements.
func (t *Telemetry) global(p metric.MeterProvider) *Meter {
	m, ctx := t.meter(p), context.Background()
	if m.process.Enabled(ctx) || m.client.Enabled(ctx) || m.sent.Enabled(ctx) || m.consumed.Enabled(ctx) {
		return m
	}
	return nil
}

// Labels are the attribute sets of one place: made once, one for each class of failure.
type Labels [classes]struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

// Labels makes the labels of a place, which are those of its spans that come from the declaration.
func (m *Meter) Labels(p *Place) *Labels {
	l := &Labels{}
	for c := range classes {
		kvs := append([]attribute.KeyValue{m.system}, labels(p.Attributes)...)
		if c != ClassNone {
			kvs = append(kvs, attribute.String(ErrorType, c.String()))
		}
		o := metric.WithAttributeSet(attribute.NewSet(kvs...))
		l[c].record, l[c].add = []metric.RecordOption{o}, []metric.AddOption{o}
	}
	return l
}

// labels are the attributes that metrics have too.
func labels(kvs []attribute.KeyValue) (out []attribute.KeyValue) {
	for _, kv := range kvs {
		switch string(kv.Key) {
		case Pattern, Route, Direct, OperationType:
		default:
			out = append(out, kv)
		}
	}
	return out
}

// Consumed counts a message that a broker has delivered.
func (m *Meter) Consumed(ctx context.Context, l *Labels) {
	m.consumed.Add(ctx, 1, l[ClassNone].add...)
}

// Processed measures what a message took from its first attempt to its end, retries included.
func (m *Meter) Processed(ctx context.Context, l *Labels, d time.Duration, c Class) {
	m.process.Record(ctx, d.Seconds(), l[c].record...)
}

// Sent measures the publish of one message and counts it.
func (m *Meter) Sent(ctx context.Context, l *Labels, d time.Duration, c Class) {
	m.client.Record(ctx, d.Seconds(), l[c].record...)
	m.sent.Add(ctx, 1, l[c].add...)
}
