package kafka

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// How long the oldest message has been out is measured, over the partitions of a topic, and is 0 when none is. Breaks if it is
// always 0, or if a partition that has just given something out hides one that hangs: the alert on it is then silent.
func TestOldestIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its time is virtual
		x := &leattest.Traces{}
		conf := SubscriberConfig{Telemetry: x.Config()}.withDefaults()
		tally := newTally(&conf)
		defer tally.close()
		var claims []*claim
		for partition := range int32(3) {
			c := newClaim(t.Context(), &conf, nobody{}, &switched{}, "topic", partition, 0)
			c.queue = append(c.queue, &sarama.ConsumerMessage{Partition: partition})
			tally.claimed(c)
			claims = append(claims, c)
		}
		is := func(when string, want float64) {
			t.Helper()
			var says []float64
			for _, scope := range x.Metrics(t).ScopeMetrics {
				for _, m := range scope.Metrics {
					if m.Name == tracing.ReaderOldest {
						for _, p := range m.Data.(metricdata.Gauge[float64]).DataPoints {
							says = append(says, p.Value)
						}
					}
				}
			}
			if !slices.Equal(says, []float64{want}) {
				t.Errorf("%s the instrument says %v, want %v s, once", when, says, want)
			}
		}
		var out [][]*adapters.Record
		for _, c := range claims {
			is("before a partition gives something out", float64(2*len(out)))
			rs, err := c.Next(make([]*adapters.Record, 0, 1))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rs)
			time.Sleep(2 * time.Second)
		}
		is("when all are out", 6)
		claims[0].Finish(out[0])
		is("when the oldest is finished", 4)
		claims[1].Finish(out[1])
		claims[2].Finish(out[2])
		is("when all are finished", 0)
		claims[0].refused = &refusal{from: 1, end: 2, err: ErrRefused}
		nudge(claims[0].wake)
		if _, err := claims[0].Next(make([]*adapters.Record, 0, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		is("when what cannot be read is out", 2)
	})
}
