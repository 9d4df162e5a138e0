package flow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

func TestHandlerRefuses(t *testing.T) {
	pub := (&memory.Broker{}).Publisher()
	if _, err := flow.Handler("pack", parcelsOf(3, &aggregator.Memory{}), pub, quick()); err == nil || !strings.Contains(err.Error(), "use flow.New and AddTo for a clock") {
		t.Errorf("a block with time: %v", err)
	}
	if _, err := flow.Handler("a", done[parcel](), pub); err == nil || !strings.Contains(err.Error(), "an error has no way out") {
		t.Errorf("no policy: %v", err)
	}
	if _, err := flow.Handler("a", done[parcel](), pub, quick(), flow.Step("b", sorted, done[parcel]())); err == nil {
		t.Error("a second step was taken")
	}
	if _, err := flow.Handler("a", endpoint.Do[parcel](nil), pub, quick()); err == nil || !strings.Contains(err.Error(), "Act is nil") {
		t.Errorf("a block with a mistake: %v", err)
	}
}

// The name is the scope of ids and of what is remembered; the router's own retry middleware is not
// needed, and a message that is given back comes again.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &memory.Broker{}
		defer broker.Close()
		w := &wire{to: broker.Publisher()}
		n := 0
		flaky := translator.MapMessage(func(m channel.Message[parcel]) (sticker, error) {
			if m.Scope() != "charge" || m.Topic() != "payments" {
				t.Errorf("scope %q, topic %q", m.Scope(), m.Topic())
			}
			if n++; n < 3 {
				return sticker{}, errFlaky
			}
			return stick(m.Body)
		}, stickers)
		h := must(flow.Handler("charge", flaky, batchWire{w}, quick(), flow.Logger(silent()),
			flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}})))(t)
		r := message.NewDefaultRouter(nil)
		r.AddConsumerHandler("charge", "payments", broker.Subscriber("g"), h)
		go r.Run(context.Background())
		<-r.Running()
		in := broker.Publisher()
		for range 2 {
			if err := in.Publish("payments", message.NewMessage("p1", []byte(`{"ID":"p1"}`))); err != nil {
				t.Fatal(err)
			}
		}
		if err := in.Publish("payments", message.NewMessage("p2", []byte(`{`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		got := w.on("stickers")
		if len(got) != 1 || got[0].ID == "p1" || n != 3 {
			t.Errorf("came out %v after %d tries", got, n)
		}
		letters := w.on("dead")
		if len(letters) != 1 || letters[0].ID != "p2" || letters[0].Headers[flow.DeadScope] != "charge" {
			t.Errorf("dead letters: %v", letters)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHandlerFuncRefuses(t *testing.T) {
	for name, b := range map[string]channel.Processor[parcel]{
		"an effect":     endpoint.Call(func(context.Context, parcel) (sticker, error) { return sticker{}, nil }, stickers),
		"no outlet":     block[parcel]{},
		"two outlets":   router.Content(router.When("small", small, sorted), router.Otherwise(rejected)),
		"a pattern":     sendsTo(channel.Out("reply", channel.Topic[parcel]("re.*"))),
		"state":         block[parcel]{shape: channel.Shape{Effect: channel.External, Outlets: []channel.Outlet{channel.Out("", sorted)}}},
		"time":          parcelsOf(3, &aggregator.Memory{}),
		"a mistake":     router.Filter[parcel](nil, sorted),
		"a nil pointer": (*shy)(nil),
	} {
		if _, err := flow.HandlerFunc("a", b); err == nil || !errors.Is(err, flow.ErrFlow) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHandlerFunc(t *testing.T) {
	h := must(flow.HandlerFunc("label", translator.MapMessage(pickyStick, stickers)))(t)
	m := message.NewMessage("p1", []byte(`{"ID":"p1","N":7}`))
	m.Metadata = message.Metadata{channel.HeaderKey: "k", "tenant": "blue"}
	first, second := must(h(m))(t), must(h(m))(t)
	if len(first) != 1 || len(second) != 1 || first[0].UUID != second[0].UUID || first[0].UUID == "p1" {
		t.Fatalf("produced %v, %v", first, second)
	}
	out := first[0]
	if string(out.Payload) != `{"Parcel":"p1","N":7}` || out.Metadata[channel.HeaderKey] != "k" || out.Metadata["tenant"] != "blue" {
		t.Errorf("produced %s %v", out.Payload, out.Metadata)
	}
	if _, err := h(message.NewMessage("p2", []byte(`{"ID":"p2","Kind":"damaged"}`))); !errors.Is(err, errBadParcel) || !strings.Contains(err.Error(), `flow label, message "p2"`) {
		t.Errorf("an error: %v", err)
	}
	panics := must(flow.HandlerFunc("a", router.Filter(func(parcel) bool { panic("no") }, sorted)))(t)
	if _, err := panics(message.NewMessage("p3", []byte(`{}`))); err == nil || !strings.Contains(err.Error(), "panic: no") {
		t.Errorf("a panic: %v", err)
	}
	settles := must(flow.HandlerFunc("a", block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		return channel.Send(channel.Forward(sorted, m)).Settle(func(_ context.Context, err error) error {
			if err == nil {
				t.Error("a HandlerFunc settled before the router published")
			}
			return nil
		}), nil
	}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted)}}}))(t)
	if _, err := settles(message.NewMessage("p4", []byte(`{}`))); err == nil || !strings.Contains(err.Error(), "use flow.Handler") {
		t.Errorf("a settle: %v", err)
	}
	if ms := must(must(flow.HandlerFunc("f", router.Filter(small, sorted)))(t)(message.NewMessage("p5", []byte(`{}`))))(t); len(ms) != 0 {
		t.Errorf("a dropped message gave %v", ms)
	}
}

// A router that publishes to another topic than the block sends to is refused, message by message.
func TestHandlerFuncChecksTheRoutersTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &memory.Broker{Backoff: memory.Backoff{Base: time.Minute}}
		defer broker.Close()
		h := must(flow.HandlerFunc("label", translator.Map(stick, stickers)))(t)
		var errs []error
		noted := func(m *message.Message) ([]*message.Message, error) {
			ms, err := h(m)
			errs = append(errs, err)
			return ms, err
		}
		r := message.NewDefaultRouter(nil)
		r.AddHandler("right", "right", broker.Subscriber("g"), "stickers", broker.Publisher(), noted)
		r.AddHandler("wrong", "wrong", broker.Subscriber("g"), "elsewhere", broker.Publisher(), noted)
		go r.Run(context.Background())
		<-r.Running()
		for _, topic := range []string{"right", "wrong"} {
			if err := broker.Publisher().Publish(topic, message.NewMessage("p1", []byte(`{}`))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if len(errs) < 2 || errs[0] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "elsewhere, not stickers") {
			t.Errorf("got %v", errs)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Breaks if a letter of a block alone names the handler where it should name the topic: it would be put back
// where nobody reads.
func TestALetterOfAHandlerGoesBackToItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := &memory.Broker{}
		defer broker.Close()
		repaired := false
		var traces leattest.Traces
		h := must(flow.Handler("charge", endpoint.Do(func(context.Context, parcel) error {
			if !repaired {
				return channel.Permanent(errFlaky)
			}
			return nil
		}), broker.Publisher(), quick(), flow.Logger(silent()), flow.Tracing(traces.Config())))(t)
		r := message.NewDefaultRouter(nil)
		r.AddConsumerHandler("charge", "payments", broker.Subscriber("g"), h)
		go r.Run(context.Background())
		defer r.Close()
		<-r.Running()
		letters, err := broker.Subscriber("desk").Subscribe(t.Context(), "dead")
		if err != nil {
			t.Fatal(err)
		}
		if err := broker.Publisher().Publish("payments", message.NewMessage("1", []byte(`{}`))); err != nil {
			t.Fatal(err)
		}
		topic, m, err := flow.PutBack(<-letters)
		if err != nil || topic != "payments" {
			t.Fatalf("put back to %q, %v; want payments", topic, err)
		}
		repaired = true
		if err := broker.Publisher().Publish(topic, m); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var names []string
		for _, s := range traces.Spans() {
			names = append(names, s.Name+" "+s.Get(tracing.Outcome))
		}
		if want := []string{"send dead ", "process payments dead", "process payments done"}; !slices.Equal(names, want) {
			t.Errorf("spans %q; want %q", names, want)
		}
		if n := traces.Sum(t, tracing.ConsumedMessages, tracing.Destination, "payments"); n != 2 {
			t.Errorf("%d messages consumed from payments; want 2", n)
		}
	})
}
