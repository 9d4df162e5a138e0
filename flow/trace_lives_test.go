package flow_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// A slow is a subscriber that hands out a message of its first topic while it still subscribes to the
// second.
type slow struct {
	topics atomic.Int32
	acked  chan struct{}
}

func (*slow) Lag(string) int64 { return 42 }
func (*slow) Close() error     { return nil }

func (s *slow) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message, 1)
	if s.topics.Add(1) > 1 {
		<-s.acked // the flow is at work before it has all its subscriptions
		go func() { <-ctx.Done(); close(out) }()
		return out, nil
	}
	m := message.NewMessage("1", []byte("{}"))
	out <- m
	go func() {
		defer close(out)
		<-m.Acked()
		close(s.acked)
		<-ctx.Done()
	}()
	return out, nil
}

var _ adapters.Lagger = (*slow)(nil)

// Breaks if a message that is processed before Start returns has the lags watched when they are not all
// known: some are then never told.
func TestMetricsLagOfAFlowThatWorksBeforeStartReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &leattest.Traces{}
		f := mustNew(t, "f", flow.Step("a", arrivals, done[parcel]()), flow.Step("b", sorted, done[parcel]()), quick(), flow.Tracing(x.Config()))
		h := must(f.Start(t.Context(), &wire{}, &slow{acked: make(chan struct{})}))(t)
		defer h.Stop()
		synctest.Wait()
		for _, topic := range []string{"arrivals", "sorted"} {
			if n := x.Sum(t, tracing.Lag, tracing.Destination, topic); n != 42 {
				t.Errorf("a lag of %d on %s; want 42", n, topic)
			}
		}
	})
}

// A closing is a store that notes who asks it.
type closing struct {
	aggregator.Memory

	asked atomic.Int32
}

func (s *closing) Open(ctx context.Context, scope string) (int64, error) {
	s.asked.Add(1)
	return s.Memory.Open(ctx, scope)
}

// Breaks if a collection asks the store of a flow that has ended: it may be closed by then.
func TestMetricsAskNoStoreOfAFlowThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &closing{}
		r := newTraced(t, claims, nil, flow.Step("glue", arrivals, glue(s)), quick())
		r.traces.Metrics(t)
		before := s.asked.Load()
		if before == 0 {
			t.Error("the store of a flow that runs was not asked: the test looks at nothing")
		}
		r.stop()
		r.traces.Metrics(t)
		if n := s.asked.Load() - before; n != 0 {
			t.Errorf("asked %d times after the flow had ended", n)
		}
	})
}

// Breaks if a desk that puts letters back is itself traced by Config.Middleware and what it puts back is
// processed in the trace of the desk.
func TestTracePutBackWithinMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &leattest.Traces{}
		var mended atomic.Bool
		f := mustNew(t, "f", flow.Step("do", arrivals, acting(func(context.Context, int) error {
			if !mended.Load() {
				return channel.Permanent(errors.New("broken"))
			}
			return nil
		})), quick(), flow.Tracing(x.Config()))
		b := &memory.Broker{}
		defer b.Close()
		h := must(f.Start(t.Context(), b.Publisher(), b.Subscriber("f")))(t)
		defer h.Stop()
		desk := message.NewDefaultRouter(watermill.NopLogger{})
		desk.AddMiddleware(x.Config().Middleware)
		desk.AddConsumerHandler("desk", "dead", b.Subscriber("desk"), func(m *message.Message) error {
			mended.Store(true)
			return h.PutBack(m.Context(), m)
		})
		stop := routing(t, desk)
		if err := b.Publisher().Publish("arrivals", message.NewMessage("1", []byte(`{}`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		stop()
		compareTree(t, x.Spans(), `
process arrivals @do = dead ! permanent
	send dead @do
		process dead
process arrivals @do = done ~1
`)
	})
}

// Breaks if a duration is measured outside the context of its span: it then has no exemplar.
func TestMetricsHaveExemplars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTraced(t, claims, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)), quick())
		r.give("arrivals", "", parcel{ID: "1"})
		r.wait(time.Second)
		r.stop()
		spans := r.traces.Spans()
		for instrument, name := range map[string]string{tracing.ProcessDuration: "process arrivals", tracing.OperationDuration: "send sorted"} {
			want, got := find(t, spans, name).SpanContext.SpanID(), [][]byte(nil)
			for _, m := range instruments(t, r.traces) {
				if m.Name != instrument {
					continue
				}
				for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
					for _, e := range p.Exemplars {
						got = append(got, e.SpanID)
					}
				}
			}
			if len(got) != 1 || string(got[0]) != string(want[:]) {
				t.Errorf("the exemplars of %s are of the spans %x; want %v", instrument, got, want)
			}
		}
	})
}

// Breaks if a provider that is a nil pointer, as of an SDK whose setup went wrong, panics at the first
// message instead of being an error of New that names the field.
func TestTracingWithANilProviderIsAnError(t *testing.T) {
	var nobody *sdktrace.TracerProvider
	_, err := flow.New("f", flow.Step("end", arrivals, done[parcel]()), quick(), flow.Tracing(tracing.Config{TracerProvider: nobody}))
	if err == nil || !strings.Contains(err.Error(), "Tracing: Config.TracerProvider is a nil *trace.TracerProvider") {
		t.Errorf("error %v; want one that names the field", err)
	}
}

// Breaks if a HandlerFunc takes no parts, or is traced by the global provider although it was given one.
func TestTraceHandlerFuncByAProviderOfItsOwn(t *testing.T) {
	global, own := globally(t), &leattest.Traces{}
	h := must(flow.HandlerFunc("arrivals", translator.Map(same, sorted), flow.Tracing(own.Config())))(t)
	if out, err := h(message.NewMessage("1", []byte(`{}`))); err != nil || len(out) != 1 {
		t.Fatalf("%d messages, error %v", len(out), err)
	}
	compareTree(t, own.Spans(), `
process arrivals @arrivals = sent
	create sorted @arrivals
`)
	if n := len(global.Spans()); n != 0 {
		t.Errorf("%d spans of the global provider; want none", n)
	}
}
