package tracing_test

import (
	"os"
	"os/exec"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// alone runs the rest of a test in a process of its own: the global providers can be set once.
func alone(t *testing.T) (here bool) {
	t.Helper()
	const child = "LEAT_TEST_ALONE"
	if os.Getenv(child) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), child+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func off(t *testing.T, x *tracing.Telemetry, why string) {
	t.Helper()
	if x.Tracer() != nil || x.Meter() != nil {
		t.Errorf("%s: tracer %v, meter %v; want none", why, x.Tracer(), x.Meter())
	}
	if n := testing.AllocsPerRun(100, func() { x.Tracer(); x.Meter() }); n != 0 {
		t.Errorf("%s: it costs %v allocations to find that nobody looks", why, n)
	}
}

// Without an SDK nothing is made and nothing is spent; one that comes later is found.
func TestSwitchFindsAnSDKThatComesLater(t *testing.T) {
	if !alone(t) {
		return
	}
	x := tracing.New(tracing.Config{}, "memory")
	off(t, x, "no SDK")
	otel.SetTracerProvider(noop.NewTracerProvider())
	otel.SetMeterProvider(metricnoop.NewMeterProvider())
	off(t, x, "providers that do nothing")

	var traces leattest.Traces
	otel.SetTracerProvider(traces.Config().TracerProvider)
	otel.SetMeterProvider(traces.Config().MeterProvider)
	if x.Tracer() == nil || x.Meter() == nil {
		t.Fatal("an SDK that came later was not found")
	}
	if n := testing.AllocsPerRun(100, func() { x.Tracer(); x.Meter() }); n != 0 {
		t.Errorf("%v allocations to find the tracer", n)
	}
	otel.SetTracerProvider(noop.NewTracerProvider())
	if x.Tracer() == nil {
		t.Error("what was found is kept")
	}
	off(t, tracing.New(tracing.Config{Off: true, TracerProvider: traces.Config().TracerProvider, MeterProvider: traces.Config().MeterProvider}, "memory"), "Off")
	if got := len(traces.Spans()); got != 0 {
		t.Errorf("%d spans were made to find out whether there is an SDK", got)
	}
}

// Providers that cannot be compared: by their type, or by what they hold.
type (
	listed struct {
		noop.TracerProvider

		_ []int
	}
	holding     struct{ trace.TracerProvider }
	listedMeter struct {
		metricnoop.MeterProvider

		_ []int
	}
	holdingMeter struct{ metric.MeterProvider }
)

// Breaks if the providers are compared with what they were, by ==, without a look at what they are.
func TestSwitchWithProvidersThatCannotBeCompared(t *testing.T) {
	if !alone(t) {
		return
	}
	for _, p := range []trace.TracerProvider{listed{}, holding{listed{}}, holding{noop.NewTracerProvider()}} {
		otel.SetTracerProvider(p)
		otel.SetMeterProvider(holdingMeter{listedMeter{}})
		off(t, tracing.New(tracing.Config{}, "memory"), "a provider that does nothing")
		if x := tracing.New(tracing.Config{TracerProvider: p}, "memory"); x.Tracer() == nil {
			t.Error("one that is given is taken as it is")
		}
	}
	if x := tracing.New(tracing.Config{TracerProvider: noop.NewTracerProvider()}, "memory"); x.Tracer() != nil {
		t.Error("one that says it makes no spans is asked for some")
	}
}
