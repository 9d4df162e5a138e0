package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// A ticker is a source of nothing.
type ticker struct{}

func (ticker) Open(func(context.Context, channel.Result) error) {}
func (ticker) Shape() channel.Shape                             { return channel.Shape{Pattern: "Ticker"} }

// Breaks if New looks at a step as a whole, or at its block alone, or only at what ExactlyOnce follows.
func TestLaw10StateOutsideOfTheTransactionIsRefused(t *testing.T) {
	pure := translator.Map(stick, stickers)
	shaped := func(s channel.Shape) block[parcel] {
		return block[parcel]{func(channel.Message[parcel]) (channel.Result, error) { return channel.Done(), nil }, s}
	}
	all := func(name string) []string { return []string{"flow f: step " + name, "ExactlyOnce"} }
	refusals := map[string]struct {
		part flow.Part
		want []string
	}{
		"aggregator": {flow.Step("agg", arrivals, &aggregator.Aggregator[parcel, sticker]{
			Correlate: func(p parcel) string { return p.ID }, Combine: func(string, []parcel) (sticker, error) { return sticker{}, nil },
			To: stickers, Size: 2, Store: &aggregator.Memory{},
		}), append(all("agg"), "block Aggregator", "store", `reads the topic "arrivals"`)},
		"activator": {
			flow.Step("call", arrivals, endpoint.Call(func(_ context.Context, p parcel) (sticker, error) { return stick(p) }, stickers)),
			append(all("call"), "acts on the world"),
		},
		"receiver around a pure block": {
			flow.Step("guarded", arrivals, pure, flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}})),
			append(all("guarded"), "interceptor Idempotent Receiver"),
		},
		"clock": {
			flow.Step("clock", arrivals, shaped(channel.Shape{Pattern: "Delayer", Inlets: []channel.Inlet{channel.Clock("time",
				func(context.Context, channel.DueRequest) (channel.Due, error) { return channel.Due{}, nil },
				func(context.Context, string, string) (channel.Result, error) { return channel.Done(), nil })}})),
			append(all("clock"), "block Delayer", "the clock time"),
		},
		"source": {flow.Source("tick", ticker{}), append(all("tick"), "block Ticker", "source")},
		"best effort": {flow.Step("tap", arrivals, shaped(channel.Shape{Pattern: "Tap", Outlets: []channel.Outlet{
			{Topic: "taps", Type: channel.Out("", stickers).Type, BestEffort: true},
		}})), append(all("tap"), "best-effort outlet to topic taps", "take BestEffort away")},
		"every instance": {flow.Step("cache", arrivals, shaped(channel.Shape{Pattern: "Cache", Inlets: []channel.Inlet{
			func() channel.Inlet {
				in := channel.In("rates", channel.Topic[sticker]("rates"), func(channel.Message[sticker]) (channel.Result, error) { return channel.Done(), nil })
				in.Broadcast = true
				return in
			}(),
		}})), append(all("cache"), "the inlet rates, which every instance reads")},
	}
	for name, x := range refusals {
		parts := []flow.Part{flow.Step("fine", sorted, pure), x.part, flow.Policy{DeadLetter: dead}}
		for range 2 { // the part may come first or last
			parts = append(parts[1:], parts[0])
			_, err := flow.New("f", append(slices.Clone(parts), flow.ExactlyOnce())...)
			if !errors.Is(err, flow.ErrNoTransaction) || !errors.Is(err, flow.ErrFlow) {
				t.Errorf("%s: New gives %v", name, err)
				continue
			}
			for _, w := range x.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s: %q is not in: %v", name, w, err)
				}
			}
			if strings.Contains(err.Error(), "fine") {
				t.Errorf("%s: a pure step is refused: %v", name, err)
			}
		}
		if _, err := flow.New("f", append([]flow.Part{flow.ExactlyOnce()}, parts...)...); !errors.Is(err, flow.ErrNoTransaction) {
			t.Errorf("%s, ExactlyOnce first: New gives %v", name, err)
		}
		if _, err := flow.New("f", parts...); name != "every instance" && err != nil {
			t.Errorf("%s without ExactlyOnce: %v", name, err)
		}
	}
	// A whole flow's interceptors are those of every step.
	_, err := flow.New("f", flow.ExactlyOnce(), flow.Policy{DeadLetter: dead}, flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}}),
		flow.Step("one", arrivals, pure), flow.Step("two", sorted, pure))
	if err == nil || !strings.Contains(err.Error(), "step one") || !strings.Contains(err.Error(), "step two") {
		t.Errorf("an interceptor around all steps: %v", err)
	}
	if _, err := flow.New("f", flow.Policy{DeadLetter: dead}, flow.Step("one", arrivals, pure, flow.ExactlyOnce())); err == nil || !strings.Contains(err.Error(), "give it to New") {
		t.Errorf("given to a step: %v", err)
	}
}

// transactional is a flow that is ExactlyOnce, of one pure step.
func transactional(t *testing.T) *flow.Flow {
	t.Helper()
	return mustNew(t, "f", quick(), flow.ExactlyOnce(), flow.Step("a", arrivals, translator.Map(stick, stickers)))
}

// decorated is a Publisher, or a Subscriber, that can be seen through.
type (
	decorated    struct{ message.Publisher }
	decoratedSub struct{ message.Subscriber }
)

func (d decorated) Unwrap() message.Publisher     { return d.Publisher }
func (d decoratedSub) Unwrap() message.Subscriber { return d.Subscriber }

// eager notes that it was asked to read.
type eager struct {
	message.Subscriber
	claimed atomic.Bool
}

func (e *eager) Claim(context.Context, []string, func(adapters.Claim)) error {
	e.claimed.Store(true)
	return nil
}

// plainPub is a publisher that can no more than Watermill asks.
type plainPub struct{ message.Publisher }

func TestExactlyOnceIsRefusedWhereItCannotBe(t *testing.T) {
	b := &memory.Broker{}
	defer b.Close()
	_, err := transactional(t).Start(t.Context(), plainPub{b.Publisher()}, plainSub{b.Subscriber("f")})
	for _, want := range []string{"flow f", "flow_test.plainPub", "Transactor", "flow_test.plainSub", "group f", "Claims"} {
		if !errors.Is(err, flow.ErrNoTransaction) || !strings.Contains(err.Error(), want) {
			t.Errorf("Start gives %v; %q is missing", err, want)
		}
	}
	if _, err := transactional(t).Start(t.Context(), nil, b.Subscriber("f")); err == nil {
		t.Error("Start takes no publisher")
	}
	if err := transactional(t).Run(t.Context(), b.Publisher(), plainSub{b.Subscriber("f")}); !errors.Is(err, flow.ErrNoTransaction) || strings.Contains(err.Error(), "Transactor") {
		t.Errorf("Run gives %v", err)
	}
	if _, err := transactional(t).AddTo(message.NewDefaultRouter(watermill.NopLogger{}), b.Publisher(), b.Subscriber("f")); err == nil || !strings.Contains(err.Error(), "use Run or Start") {
		t.Errorf("AddTo gives %v", err)
	}
	if _, err := flow.Handler("h", translator.Map(stick, stickers), b.Publisher(), quick(), flow.ExactlyOnce()); err == nil || !strings.Contains(err.Error(), "use Run or Start") {
		t.Errorf("Handler gives %v", err)
	}
	if _, err := flow.HandlerFunc("h", translator.Map(stick, stickers), flow.ExactlyOnce()); err == nil || !strings.Contains(err.Error(), "use Run or Start") {
		t.Errorf("HandlerFunc gives %v", err)
	}
}

// Where no transaction can be begun the flow does not start, and has read nothing.
func TestExactlyOnceDoesNotStartWithoutTransactions(t *testing.T) {
	b := &memory.Broker{}
	defer b.Close()
	reason := errors.New("the coordinator is gone")
	sub := &eager{Subscriber: b.Subscriber("f")}
	_, err := transactional(t).Start(t.Context(), &bank{Publisher: b.Publisher(), closed: reason}, sub)
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), "flow f") || !strings.Contains(err.Error(), "preparing transactions") {
		t.Errorf("Start gives %v", err)
	}
	if sub.claimed.Load() {
		t.Error("it began to read")
	}
}

// Decorators that can be seen through hide no transactions.
func TestExactlyOnceThroughDecorators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		defer b.Close()
		inner := &bank{Publisher: b.Publisher()}
		h := must(transactional(t).Start(t.Context(), decorated{decorated{inner}}, decoratedSub{b.Subscriber("f")}))(t)
		if err := b.Publisher().Publish("arrivals", message.NewMessage("p1", []byte("{}"))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := inner.bookings(); len(got) != 1 || len(got[0].finished) != 1 || len(got[0].outs) != 1 {
			t.Errorf("transactions %v, want one that finishes one and sends one", got)
		}
		h.Stop()
		balanced(t, h)
	})
}

func TestExactlyOnceIsInTheJSON(t *testing.T) {
	for _, exactly := range []bool{true, false} {
		parts := []flow.Part{quick(), flow.Step("a", arrivals, translator.Map(stick, stickers))}
		if exactly {
			parts = append(parts, flow.ExactlyOnce())
		}
		var doc struct{ ExactlyOnce bool }
		if err := json.Unmarshal(must(mustNew(t, "f", parts...).JSON())(t), &doc); err != nil || doc.ExactlyOnce != exactly {
			t.Errorf("JSON says %v, %v; want %v", doc.ExactlyOnce, err, exactly)
		}
	}
}

// What a caller feeds, or puts back, goes out in a transaction that finishes nothing.
func TestExactlyOnceFeedsAndPutsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{fail: func(id string, attempt int) error {
			if id == "bad" && attempt <= 3 {
				return errFlaky
			}
			return nil
		}}
		v := &vault{T: t, bank: &bank{}}
		tries := 0
		v.fail = func(int, []adapters.Finished, []*adapters.Outgoing) error {
			if tries++; tries <= 2 {
				return errWire
			}
			return nil
		}
		v.run(quick(), flow.Direct(sorted), flow.Step("route", arrivals, router.Filter(func(parcel) bool { return true }, sorted)), flow.Step("a", sorted, c.block()))
		feed := must(flow.Into(v.h, arrivals))(t)
		if err := feed(t.Context(), "p1", parcel{ID: "p1"}); err != nil {
			t.Fatal(err)
		}
		equal(t, "when the feed returns", v.parcels("stickers"), []string{"p1"})
		if tries != 3 || c.called("p1") != 1 {
			t.Errorf("%d transactions and %d calls, want 3 and 1", tries, c.called("p1"))
		}
		if err := feed(t.Context(), "bad", parcel{ID: "bad"}); err != nil {
			t.Fatal(err)
		}
		letters := v.on("dead")
		if len(letters) != 1 {
			t.Fatalf("dead letters: %v", letters)
		}
		c.fail = nil
		m := message.NewMessage(letters[0].ID, []byte(letters[0].Payload))
		maps.Copy(m.Metadata, letters[0].Headers)
		m.SetContext(t.Context())
		if err := v.h.PutBack(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		equal(t, "put back", v.parcels("stickers"), []string{"p1", "bad"})
		for _, b := range v.bookings() {
			if len(b.finished) != 0 {
				t.Errorf("a transaction of a feed finishes %v", b.finished)
			}
		}
		if err := v.h.Release("a", "k"); err == nil || !strings.Contains(err.Error(), "no clock") {
			t.Errorf("Release gives %v", err)
		}
		// A feed ends with its caller, or with the flow.
		v.fail = func(int, []adapters.Finished, []*adapters.Outgoing) error { return errWire }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := feed(ctx, "p2", parcel{ID: "p2"}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errWire) {
			t.Errorf("the feed ends with %v", err)
		}
		over := make(chan error, 1)
		go func() { over <- feed(context.Background(), "p3", parcel{ID: "p3"}) }()
		v.wait(time.Second)
		v.stop()
		if err := <-over; !errors.Is(err, channel.ErrStopped) {
			t.Errorf("the feed of a flow that stops ends with %v", err)
		}
	})
}

// A feed whose transaction cannot be done ends with its caller: nothing may wait for ever.
func TestExactlyOnceFeedThatWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, Broker: &memory.Broker{Bound: 1}}
		defer v.Broker.Close()
		v.run(quick(), flow.Step("a", arrivals, translator.Map(stick, stickers)))
		feed := must(flow.Into(v.h, arrivals))(t)
		if err := feed(t.Context(), "p1", parcel{ID: "p1"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := feed(ctx, "p2", parcel{ID: "p2"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a feed that finds no room ends with %v", err)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("after %v", d)
		}
		equal(t, "sent", v.parcels("stickers"), []string{"p1"})
		v.stop()
	})
}
