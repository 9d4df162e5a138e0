package flow_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// durations gives count and sum, in seconds, of a histogram, by "step/topic", and "/class" if it has one.
func durations(t testing.TB, x *leattest.Traces, instrument string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, m := range instruments(t, x) {
		if m.Name != instrument {
			continue
		}
		for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
			name := value(p.Attributes, tracing.Step) + "/" + value(p.Attributes, tracing.Destination)
			if class := value(p.Attributes, tracing.ErrorType); class != "" {
				name += "/" + class
			}
			out[name] = strconv.FormatUint(p.Count, 10) + " in " + strconv.FormatFloat(p.Sum, 'g', 6, 64)
		}
	}
	return out
}

func instruments(t testing.TB, x *leattest.Traces) (all []metricdata.Metrics) {
	t.Helper()
	for _, s := range x.Metrics(t).ScopeMetrics {
		all = append(all, s.Metrics...)
	}
	return all
}

func value(set attribute.Set, name string) string {
	v, _ := set.Value(attribute.Key(name))
	return v.String()
}

// Breaks if a duration leaves out the pauses, if a direct hop is measured as if it were a message of a
// broker, or if a failure is counted under no class.
func TestMetricsDurations(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(flaky(2), sorted)),
			flow.Step("end", sorted, endpoint.Do(func(_ context.Context, p parcel) error {
				time.Sleep(3 * time.Second)
				if p.Kind == "bad" {
					return channel.Permanent(errors.New("bad"))
				}
				return nil
			})), flow.Policy{Backoff: flow.Fixed(10 * time.Second), DeadLetter: dead})
		r.fail = func(topic, _ string, try int) error {
			if topic == "sorted" && try == 1 {
				return errWire
			}
			return nil
		}
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(5 * time.Minute)
		r.give("arrivals", "k", parcel{ID: "2", Kind: "bad"})
		r.wait(5 * time.Minute)
		r.stop()
		want := map[string]string{"sort/arrivals": "2 in 20.02", "end/sorted": "1 in 3", "end/sorted/permanent": "1 in 3"}
		if got := durations(t, r.traces, tracing.ProcessDuration); !maps.Equal(got, want) {
			t.Errorf("durations of processing %v; want %v", got, want)
		}
		want = map[string]string{"sort/sorted": "2 in 0", "sort/sorted/publish": "2 in 0", "end/dead": "1 in 0"}
		if got := durations(t, r.traces, tracing.OperationDuration); !maps.Equal(got, want) {
			t.Errorf("durations of publishing %v; want %v", got, want)
		}
		for _, x := range []struct {
			instrument string
			want       int64
			labels     []string
		}{
			{tracing.ConsumedMessages, 2, []string{tracing.Step, "sort", tracing.Destination, "arrivals", tracing.ConsumerGroup, "f"}},
			{tracing.ConsumedMessages, 2, []string{tracing.Step, "end"}},
			{tracing.SentMessages, 4, []string{tracing.Step, "sort", tracing.Destination, "sorted"}},
			{tracing.SentMessages, 2, []string{tracing.Step, "sort", tracing.ErrorType, "publish"}},
			{tracing.SentMessages, 1, []string{tracing.Destination, "dead", tracing.Letter, "true"}},
			{tracing.Retries, 2, []string{tracing.Step, "sort"}},
		} {
			if got := r.traces.Sum(t, x.instrument, x.labels...); got != x.want {
				t.Errorf("%s %q is %d; want %d", x.instrument, x.labels, got, x.want)
			}
		}
		r.traces.Accounts(t, r.flow)
	}, claims, oneByOne)
}

// Every account that Counts gives is an instrument's.
func TestMetricsAreCounts(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("route", arrivals, router.Content(
			router.When("glue", func(p parcel) bool { return p.Kind == "a" }, sorted),
			router.When("no", func(p parcel) bool { return p.Kind == "no" }, rejected)), flow.Around(channel.Expiry{To: "late"})),
			flow.Step("glue", sorted, glue(&aggregator.Memory{})),
			flow.Step("no", rejected, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				return channel.Drop("no " + m.Body.ID), nil
			}, channel.Shape{}}), flow.Direct(sorted), quick())
		for i := range 7 {
			r.give("arrivals", "", parcel{ID: "a" + strconv.Itoa(i), Kind: "a"})
		}
		for i := range 200 {
			r.give("arrivals", "", parcel{ID: strconv.Itoa(i), Kind: "no"})
		}
		r.give("arrivals", "", parcel{ID: "nowhere"})
		r.give("arrivals", "", parcel{ID: "late"}, channel.HeaderExpires, "1999-01-01T00:00:00Z")
		r.wait(time.Minute)
		if n := r.traces.Sum(t, tracing.OpenGroups, tracing.Step, "glue"); n != 1 {
			t.Errorf("%d open groups; want 1", n)
		}
		r.wait(2 * time.Hour)
		r.stop()
		if n := r.traces.Sum(t, tracing.OpenGroups, tracing.Step, "glue"); n != 0 {
			t.Errorf("%d open groups; want none", n)
		}
		for step, c := range r.h.Counts() {
			of := []string{tracing.Flow, "f", tracing.Step, step}
			for name, want := range map[string]int64{
				tracing.Received: c.Received, tracing.InFlight: c.InFlight, tracing.Released: c.Released, tracing.Retries: c.Retries,
				tracing.Laters: c.Later, tracing.Redelivered: c.Again, tracing.Fired: c.Fired, tracing.Lost: c.BestEffort,
			} {
				if got := r.traces.Sum(t, name, of...); got != want {
					t.Errorf("step %s: %s is %d; Counts say %d", step, name, got, want)
				}
			}
			for name, want := range map[string]int64{
				"sent": c.Sent, "done": c.Done, "held": c.Held, "dropped": c.DroppedAll(), "invalid": c.Invalid,
				"expired": c.Expired, "dead": c.Dead, "returned": c.Returned,
			} {
				if got := r.traces.Sum(t, tracing.Outcomes, append(of, tracing.Outcome, name)...); got != want {
					t.Errorf("step %s: outcome %s is %d; Counts say %d", step, name, got, want)
				}
			}
		}
		r.traces.Accounts(t, r.flow)
		r.traces.Check(t, r.flow)
		reasons := map[string]bool{}
		for _, m := range instruments(t, r.traces) {
			if m.Name == tracing.Outcomes {
				for _, p := range m.Data.(metricdata.Sum[int64]).DataPoints {
					reasons[value(p.Attributes, tracing.Reason)] = true
				}
			}
		}
		if len(reasons) < 3 || len(reasons) > 66 {
			t.Errorf("%d reasons: the series must not grow with what messages say", len(reasons))
		}
	}, claims, routed)
}

// Breaks if an id, a key, a body or a header of a message is in a label, or in a span where it is not the
// message's id.
func TestNothingOfAMessageIsToldOn(t *testing.T) {
	const secret = "s3cr3t"
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, func(c *tracing.Config) { c.AttemptSpans = true },
			flow.Step("map", arrivals, translator.Map(flaky(1), sorted)),
			flow.Step("glue", sorted, glue(&aggregator.Memory{})), flow.Direct(sorted),
			flow.Step("do", stickers, endpoint.Do(func(context.Context, sticker) error { return channel.Permanent(errFlaky) })), quick())
		for i := range 3 {
			r.give("arrivals", secret, parcel{ID: "id-" + strconv.Itoa(i), Kind: secret}, secret, secret)
		}
		r.giveRaw("arrivals", "id-raw", secret, []byte(`{"ID":`+secret+`"}`))
		r.wait(2 * time.Hour)
		r.stop()
		for _, s := range r.traces.Spans() {
			texts := []string{s.Name, s.Status.Description}
			kvs := slices.Clone(s.Attributes)
			for _, e := range s.Events {
				texts, kvs = append(texts, e.Name), append(kvs, e.Attributes...)
			}
			for _, kv := range kvs {
				texts = append(texts, string(kv.Key), kv.Value.String())
			}
			if strings.Contains(strings.Join(texts, " "), secret) {
				t.Errorf("span %s tells of a message: %q", s.Name, texts)
			}
		}
		points := 0
		for _, m := range instruments(t, r.traces) {
			var sets []attribute.Set
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					sets = append(sets, p.Attributes)
				}
			}
			for _, set := range sets {
				points++
				for _, kv := range set.ToSlice() {
					if v := kv.Value.String(); strings.Contains(v, secret) || strings.Contains(v, "id-") {
						t.Errorf("%s has the label %s = %s", m.Name, kv.Key, v)
					}
				}
			}
		}
		if points == 0 {
			t.Error("no measurements: the test looks at nothing")
		}
	}, claims, routed)
}

// How much of a topic a group has still to finish, as long as the flow runs.
func TestMetricsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTraced(t, claims, nil, flow.Step("end", arrivals, done[parcel]()), quick())
		if err := r.h.Pause("end"); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			r.give("arrivals", "", parcel{ID: strconv.Itoa(i)})
		}
		r.wait(time.Second)
		lag := func() int64 {
			return r.traces.Sum(t, tracing.Lag, tracing.Destination, "arrivals", tracing.ConsumerGroup, "f", tracing.System, "memory")
		}
		if n := lag(); n != 5 {
			t.Errorf("a lag of %d; want 5", n)
		}
		if err := r.h.Resume("end"); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Second)
		if n := lag(); n != 0 {
			t.Errorf("a lag of %d when all is done", n)
		}
		r.stop()
		for _, m := range instruments(t, r.traces) {
			if m.Name == tracing.Lag {
				t.Error("the lag of a flow that has ended is still told")
			}
		}
	})
}

// A store that cannot count its groups takes nobody else's numbers away.
func TestMetricsOfAStoreThatIsDown(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var told error
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { told = err }))
		defer otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { slog.Error("OpenTelemetry", "error", err) }))
		down := aggregatorDown{&aggregator.Memory{}}
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, glue(down)), flow.Step("other", sorted, glue(&aggregator.Memory{})), quick())
		r.give("arrivals", "", parcel{ID: "1", Kind: "a"})
		r.give("sorted", "", parcel{ID: "1", Kind: "a"})
		r.wait(time.Second)
		if n := r.traces.Sum(t, tracing.OpenGroups, tracing.Step, "other"); n != 1 {
			t.Errorf("%d open groups of the other step; want 1", n)
		}
		if n := r.traces.Sum(t, tracing.Received); n != 2 {
			t.Errorf("%d received; want 2", n)
		}
		if told == nil || !strings.Contains(told.Error(), "step glue of flow f") {
			t.Errorf("OpenTelemetry's error handler was told %v", told)
		}
	}, claims)
}

type aggregatorDown struct{ *aggregator.Memory }

func (aggregatorDown) Open(context.Context, string) (int64, error) { panic("down") }
