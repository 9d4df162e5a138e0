package flow_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

func same(p parcel) (parcel, error) { return p, nil }

// A feed goes on with its caller's trace, and begins one if the caller has none.
func TestTraceFeed(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)),
			flow.Step("end", sorted, done[parcel]()), flow.Direct(arrivals), quick())
		feed := must(flow.Into(r.h, arrivals))(t)
		ctx, span := r.traces.Config().TracerProvider.Tracer("caller").Start(t.Context(), "call")
		if err := feed(ctx, "1", parcel{ID: "1"}); err != nil {
			t.Fatal(err)
		}
		span.End()
		if err := feed(t.Context(), "2", parcel{ID: "2"}); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Second)
		r.looks(`
call
	process arrivals @sort direct = sent
		send sorted @sort
			process sorted @end = done
process arrivals @sort direct = sent
	send sorted @sort
		process sorted @end = done
`)
	}, claims, routed)
}

func TestTraceSource(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		x := &tap{}
		r := newTraced(t, how, nil, flow.Source("gate", x), flow.Step("sort", arrivals, translator.Map(same, rejected)),
			flow.Step("end", sorted, done[parcel]()), flow.Direct(arrivals), quick())
		ctx, span := r.traces.Config().TracerProvider.Tracer("caller").Start(t.Context(), "call")
		if err := x.emit(ctx, channel.Send(channel.To(arrivals, parcel{ID: "1"}), channel.To(sorted, parcel{ID: "2"}))); err != nil {
			t.Fatal(err)
		}
		span.End()
		r.wait(time.Second)
		r.looks(`
call
	source gate @gate = sent
		process arrivals @sort direct = sent
			send rejected @sort
		send sorted @gate
			process sorted @end = done
`)
		if id := find(t, r.traces.Spans(), "source gate"); id.Get(tracing.MessageID) != "" {
			t.Errorf("what a source says has the id %s, and is no message yet", id.Get(tracing.MessageID))
		}
	}, claims, routed)
}

// Two steps on one topic: the message is processed twice, below one send.
func TestTraceTwoStepsOnATopic(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)),
			flow.Step("one", sorted, done[parcel]()), flow.Step("two", sorted, done[parcel]()), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Second)
		r.looks(`
process arrivals @sort = sent
	send sorted @sort
		process sorted @one = done
		process sorted @two = done
`)
	})
}

// The parts of a split are children of one parent, over a broker and over direct hops.
func TestTraceSplit(t *testing.T) {
	for direct, want := range map[bool]string{
		false: `
process arrivals @split = sent
	send sorted @split
		process sorted @end = done
	send sorted @split
		process sorted @end = done
`,
		true: `
process arrivals @split = sent
	process sorted @end direct = done
	process sorted @end direct = done
`,
	} {
		everyWay(t, func(t *testing.T, how string) {
			parts := []flow.Part{flow.Step("split", arrivals, router.Split(twins, sorted)), flow.Step("end", sorted, done[parcel]()), quick()}
			if direct {
				parts = append(parts, flow.Direct(sorted))
			}
			r := newTraced(t, how, nil, parts...)
			r.give("arrivals", "k", parcel{ID: "1"})
			r.wait(time.Second)
			r.looks(want)
		})
	}
}

// globally has the global provider trace to x, as a program's SDK does, until the test is over.
func globally(t *testing.T) *leattest.Traces {
	t.Helper()
	x := &leattest.Traces{}
	otel.SetTracerProvider(x.Config().TracerProvider)
	otel.SetMeterProvider(x.Config().MeterProvider)
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	return x
}

// routing runs a Watermill router until the test is over, or until stop is called.
func routing(t *testing.T, r *message.Router) (stop func()) {
	t.Helper()
	over := make(chan error, 1)
	go func() { over <- r.Run(context.Background()) }()
	<-r.Running()
	return func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
}

// A block alone in a router: flow.Handler publishes, flow.HandlerFunc has the router publish. The one
// trace crosses both, without an option and without middleware, as soon as the program has an SDK, even if
// that came after the handlers.
func TestTraceHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &memory.Broker{}
		defer broker.Close()
		pub := broker.Publisher()
		var seen trace.SpanContext
		first := must(flow.Handler("arrivals", translator.Map(same, sorted), pub, quick(), flow.Logger(silent())))(t)
		second := must(flow.HandlerFunc("sorted", translator.Map(same, rejected)))(t)
		last := must(flow.Handler("rejected", endpoint.DoMessage(func(m channel.Message[parcel]) error {
			seen = trace.SpanContextFromContext(m.Context())
			return nil
		}), nil, flow.Policy{Redeliver: true}, flow.Logger(silent())))(t)
		r := message.NewDefaultRouter(watermill.NopLogger{})
		r.AddConsumerHandler("first", "arrivals", broker.Subscriber("1"), first)
		r.AddHandler("second", "sorted", broker.Subscriber("2"), "rejected", pub, second)
		r.AddConsumerHandler("last", "rejected", broker.Subscriber("3"), last)
		stop := routing(t, r)

		x := globally(t)
		if err := pub.Publish("arrivals", message.NewMessage("1", []byte(`{"ID":"1"}`))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		compareTree(t, x.Spans(), `
process arrivals @arrivals = sent
	send sorted @arrivals
		process sorted @sorted = sent
			create rejected @sorted
				process rejected @rejected = done
`)
		create := find(t, x.Spans(), "create rejected")
		if create.Get(tracing.OperationName) != "create" || create.Get(tracing.OperationType) != "create" || create.SpanKind != trace.SpanKindProducer {
			t.Errorf("%v %s: operation %s", create.SpanKind, create.Name, create.Get(tracing.OperationName))
		}
		if end := find(t, x.Spans(), "process rejected"); seen.SpanID() != end.SpanContext.SpanID() {
			t.Errorf("the handler's code sees the span %v; want its own", seen.SpanID())
		}
	})
}

// A handler that fails: its message is the router's again, under the error.
func TestTraceHandlerFuncFails(t *testing.T) {
	x := globally(t)
	h := must(flow.HandlerFunc("arrivals", translator.Map(flaky(1), sorted)))(t)
	m := message.NewMessage("1", []byte(`{"ID":"1"}`))
	m.Metadata["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if _, err := h(m); err == nil {
		t.Fatal("no error")
	}
	out, err := h(m)
	if err != nil {
		t.Fatal(err)
	}
	compareTree(t, x.Spans(), `
? process arrivals @arrivals = returned ! transient
? process arrivals @arrivals = sent
?   create sorted @arrivals
`)
	create := find(t, x.Spans(), "create sorted")
	if got := out[0].Metadata["traceparent"]; got != traceparent(create.SpanContext) {
		t.Errorf("what is made carries %s; want its create span", got)
	}
	if sc := trace.SpanContextFromContext(out[0].Context()); sc.SpanID() != create.SpanContext.SpanID() {
		t.Error("the context of what is made has not its create span")
	}
}

// GoChannel that hands the sender's context on: the processing is still a child of its own send, whose
// span that context has.
func TestTraceOverPreservedContexts(t *testing.T) {
	for link, want := range map[bool]string{
		false: `
process arrivals @sort = sent
	send sorted @sort
		process sorted @end = done
`, true: `
process arrivals @sort = sent
	send sorted @sort
process sorted @end = done ~1
`,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 10, PreserveContext: true}, watermill.NopLogger{})
			defer g.Close()
			x := &leattest.Traces{}
			c := x.Config()
			c.LinkHops = link
			f := mustNew(t, "f", flow.Step("sort", arrivals, translator.Map(same, sorted)),
				flow.Step("end", sorted, done[parcel]()), flow.Tracing(c), quick())
			h := must(f.Start(t.Context(), g, g))(t)
			if err := g.Publish("arrivals", message.NewMessage("1", []byte(`{"ID":"1"}`))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			h.Stop()
			compareTree(t, x.Spans(), want)
		})
	}
}
