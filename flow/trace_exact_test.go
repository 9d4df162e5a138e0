package flow_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// Breaks if a span names another conversation than the header of its message, or, where it has none, than
// the message that begins one.
func TestTraceConversation(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)),
			flow.Step("map", sorted, translator.Map(stick, stickers)), flow.Direct(sorted), quick())
		r.give("arrivals", "k", parcel{ID: "begins"})
		r.give("arrivals", "k", parcel{ID: "belongs"}, channel.HeaderConversation, "talk")
		r.wait(time.Second)
		r.stop()
		got := map[string]int{}
		for _, s := range r.traces.Spans() {
			got[s.Name+" "+s.Get(tracing.Conversation)]++
		}
		for _, name := range []string{"process arrivals", "process sorted", "send stickers"} {
			for _, conversation := range []string{"begins", "talk"} {
				if got[name+" "+conversation] != 1 {
					t.Errorf("%d spans %q of conversation %q; want 1, of %v", got[name+" "+conversation], name, conversation, got)
				}
			}
		}
	}, claims, routed)
}

// Breaks if what a clock causes is, behind a direct hop, of the conversation of the clock: that is the key
// of the group, which no span has.
func TestTraceConversationOfAClock(t *testing.T) {
	const key = "alice@example.com"
	everyWay(t, func(t *testing.T, how string) {
		g := glue(&aggregator.Memory{})
		g.Size, g.Timeout = 0, time.Minute
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, g),
			flow.Step("map", stickers, translator.Map(func(sticker) (parcel, error) { return parcel{ID: "x"}, nil }, sorted)),
			flow.Direct(stickers), quick())
		r.give("arrivals", "", parcel{ID: "1", Kind: key})
		r.wait(10 * time.Minute)
		r.stop()
		spans := r.traces.Spans()
		for _, s := range spans {
			for _, kv := range s.Attributes {
				if strings.Contains(kv.Value.String(), key) {
					t.Errorf("span %q has the group's key in %s=%s", s.Name, kv.Key, kv.Value.String())
				}
			}
		}
		hop := find(t, spans, "process stickers")
		if got, want := hop.Get(tracing.Conversation), hop.Get(tracing.MessageID); got == "" || got != want {
			t.Errorf("the conversation behind the direct hop is %q; want %q, the message that begins it", got, want)
		}
		out := r.on("sorted")
		if send := find(t, spans, "send sorted"); len(out) != 1 || out[0].Headers[channel.HeaderConversation] != send.Get(tracing.Conversation) {
			t.Errorf("what leaves: %v; want the conversation of its span, %q", out, send.Get(tracing.Conversation))
		}
	}, claims, routed)
}

// Breaks if the aggregate of a timer does not say which, or begins when the timer's first attempt did, not
// the one that made it.
func TestTraceAggregateOfATimer(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		g, fails := glue(&aggregator.Memory{}), 1
		combine := g.Combine
		g.Combine = func(key string, ps []parcel) (sticker, error) {
			if fails--; fails >= 0 {
				return sticker{}, errFlaky
			}
			return combine(key, ps)
		}
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, g), quick())
		r.give("arrivals", "", parcel{ID: "1", Kind: "a"})
		r.wait(2 * time.Hour)
		r.stop()
		spans := r.traces.Spans()
		a, clock := find(t, spans, "aggregate glue"), find(t, spans, "fire glue/timeout")
		if got := a.Get(tracing.Inlet); got != "timeout" {
			t.Errorf("the aggregate is of the inlet %q; want timeout", got)
		}
		if after := a.StartTime.Sub(clock.StartTime); after != time.Second {
			t.Errorf("the aggregate begins %v after the timer; want a second, the pause before the second attempt", after)
		}
	}, claims, routed)
}

// Breaks if the span of what leaves for one of many topics has only the pattern's name.
func TestTraceDestinationOfAPattern(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		b := sendsTo(channel.Out("", channel.Topic[parcel]("boxes.*")))
		b.process = func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Forward(channel.Topic[parcel]("boxes."+m.Body.Kind), m)), nil
		}
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, b), quick())
		r.give("arrivals", "k", parcel{ID: "1", Kind: "red"})
		r.wait(time.Second)
		r.stop()
		s := find(t, r.traces.Spans(), "send boxes.*")
		if to, of := s.Get(tracing.Destination), s.Get(tracing.Template); to != "boxes.red" || of != "boxes.*" {
			t.Errorf("sent to %q of the pattern %q; want boxes.red of boxes.*", to, of)
		}
	}, claims, routed)
}

// Breaks if what a caller hands in by flow.Into counts as consumed from a broker.
func TestMetricsOfAFeedAreNotConsumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTraced(t, claims, nil, flow.Step("end", arrivals, done[parcel]()), quick())
		feed := must(flow.Into(r.h, arrivals))(t)
		if err := feed(t.Context(), "fed", parcel{}); err != nil {
			t.Fatal(err)
		}
		r.give("arrivals", "", parcel{ID: "came"})
		r.wait(time.Second)
		if n, all := r.traces.Sum(t, tracing.ConsumedMessages), r.traces.Sum(t, tracing.Received); n != 1 || all != 2 {
			t.Errorf("%d consumed of %d received; want 1 of 2", n, all)
		}
	})
}

// Breaks if each run of a flow tells its accounts: two handles then count every message twice.
func TestMetricsOfTwoRunsCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, b := &leattest.Traces{}, &memory.Broker{}
		defer b.Close()
		f := mustNew(t, "f", flow.Step("end", arrivals, done[parcel]()), quick(), flow.Tracing(x.Config()))
		for range 2 {
			h := must(f.Start(t.Context(), b.Publisher(), b.Subscriber("f")))(t)
			defer h.Stop()
		}
		if err := b.Publisher().Publish("arrivals", message.NewMessage("1", []byte(`{}`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n, want := x.Sum(t, tracing.Received), f.Counts()["end"].Received; n != want || want != 1 {
			t.Errorf("metrics say %d received, the flow %d; want 1", n, want)
		}
	})
}

// An ending is a span processor that knows which spans have not ended.
type ending struct {
	mu    sync.Mutex
	begun map[trace.SpanID]string
	all   int
	bomb  string // it panics at the end of spans of that name
}

func (o *ending) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun == nil {
		o.begun = map[trace.SpanID]string{}
	}
	o.begun[s.SpanContext().SpanID()], o.all = s.Name(), o.all+1
}

func (o *ending) OnEnd(s sdktrace.ReadOnlySpan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.begun, s.SpanContext().SpanID())
	if s.Name() == o.bomb {
		panic("a bomb at the end of " + o.bomb)
	}
}

func (*ending) Shutdown(context.Context) error   { return nil }
func (*ending) ForceFlush(context.Context) error { return nil }

func (o *ending) is(t testing.TB, spans int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all != spans || len(o.begun) > 0 {
		t.Errorf("%d spans, never ended %v; want %d, all ended", o.all, o.begun, spans)
	}
}

// Breaks if the send of what is given up, because the flow stops or because it can never be published,
// does not end.
func TestTraceSendsGivenUpEnd(t *testing.T) {
	for name, x := range map[string]struct {
		err   error
		spans int
	}{
		"the flow stops": {errWire, 2},
		"for good":       {channel.Permanent(errWire), 3}, // and a dead letter
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				o := &ending{}
				r := newTraced(t, how, func(c *tracing.Config) {
					c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(o))
				}, flow.Step("sort", arrivals, translator.Map(same, sorted)), quick())
				r.fail = func(topic, _ string, _ int) error {
					if topic == "sorted" {
						return x.err
					}
					return nil
				}
				r.give("arrivals", "k", parcel{ID: "1"})
				r.wait(time.Second)
				r.stop()
				o.is(t, x.spans)
			}, claims, oneByOne)
		})
	}
}

// Breaks if a panic in OpenTelemetry, behind which nobody sees the message any more, leaves its spans open.
func TestTraceBlindEndsWhatIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &ending{bomb: "process sorted"}
		r := newTraced(t, claims, func(c *tracing.Config) {
			c.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(o))
		}, flow.Step("sort", arrivals, translator.Map(same, sorted)), flow.Step("end", sorted, done[parcel]()), flow.Direct(sorted), quick())
		r.give("arrivals", "", parcel{ID: "1"})
		r.wait(time.Second)
		r.stop()
		o.is(t, 2)
		if c := r.count("end"); c.Done != 1 {
			t.Errorf("%v at the end; want 1 done", c)
		}
	})
}
