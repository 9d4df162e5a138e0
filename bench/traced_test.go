package main

import (
	"context"
	"encoding/json"
	"math"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/adapters/memory"
)

// spans has n messages go through, and says how many spans a message came to.
func spans(t *testing.T, s sdk.Sampler, n int) float64 {
	t.Helper()
	end := &discard{}
	ctx := soon(t)
	l, err := traced(s, end)(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const run = 50 // few enough that the batch processor has room for all spans
	for range n / run {
		if err := l.Run(ctx, run); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return float64(end.spans.Load()) / float64(n)
}

// A contestant that says it traces does, as often as it says.
func TestTracedIsTraced(t *testing.T) {
	const n, share = 1000, 0.1
	every := spans(t, sdk.AlwaysSample(), n/10)
	if every < 3 {
		t.Fatalf("%v spans a message, want at least one for each of three hops", every)
	}
	some := spans(t, sdk.ParentBased(sdk.TraceIDRatioBased(share)), n)
	// Five deviations: whole traces are chosen, each with the same chance.
	if off := math.Abs(some/every - share); off > 5*math.Sqrt(share*(1-share)/n) {
		t.Fatalf("%v of the spans of every message are %v: not about a tenth", some, every)
	}
	if none := spans(t, sdk.NeverSample(), n/10); none != 0 {
		t.Fatalf("%v spans a message where none is sampled", none)
	}
}

// What comes out is the bill of what went in.
func TestBilling(t *testing.T) {
	bodies, keys, err := purchases()
	if err != nil {
		t.Fatal(err)
	}
	const kib = 1024
	if size := len(bodies[0]); size < kib*9/10 || size > kib*11/10 {
		t.Errorf("a purchase has %d bytes, want about a KiB", size)
	}
	f, err := billingFlow()
	if err != nil {
		t.Fatal(err)
	}
	broker := &memory.Broker{}
	h, err := f.Start(t.Context(), broker.Publisher(), broker.Subscriber("billing"))
	if err != nil {
		t.Fatal(err)
	}
	p := &pipe{pub: broker.Publisher(), sub: broker.Subscriber("sink"), bodies: bodies, close: broker.Close}
	ctx := soon(t)
	if _, err := p.load(ctx); err != nil {
		t.Fatal(err)
	}
	if err := p.pub.Publish("in", message.NewMessage("1", bodies[0])); err != nil {
		t.Fatal(err)
	}
	var m *message.Message
	select {
	case m = <-p.out:
		m.Ack()
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	var got bill
	if err := json.Unmarshal(m.Payload, &got); err != nil {
		t.Fatal(err)
	}
	var of purchase
	if err := json.Unmarshal(bodies[0], &of); err != nil {
		t.Fatal(err)
	}
	want := bill{Order: of.ID, Customer: of.Customer.ID, Currency: of.Currency}
	for _, l := range of.Lines {
		for range l.Quantity {
			want.Items++
			want.Cents += l.Cents
		}
	}
	if got != want || got.Cents == 0 || got.Customer != keys[0] {
		t.Errorf("got %+v, want %+v", got, want)
	}
	h.Stop()
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
}
