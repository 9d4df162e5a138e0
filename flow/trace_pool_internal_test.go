package flow

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
)

type nobody struct{}

func (nobody) Publish(string, ...*message.Message) error { return nil }
func (nobody) Close() error                              { return nil }

// Breaks if a work in the pool keeps what it has sent: the spans, and the payloads they stand for, then live
// as long as the pool.
func TestPooledWorksKeepNothing(t *testing.T) {
	const in, out channel.Topic[string] = "in", "out"
	const many = 100
	split := router.Split(func(string) []string { return make([]string, many) }, out)
	f, err := New("f", Step("split", in, split), Policy{DeadLetter: "dead"},
		Tracing(tracing.Config{TracerProvider: sdktrace.NewTracerProvider()}))
	if err != nil {
		t.Fatal(err)
	}
	w := f.telemetry().messageWork(f.steps[0].inlets[0], message.NewMessage("1", []byte(`"x"`)))
	if err := w.drive(senderOf(nobody{}), nil); err != nil {
		t.Fatal(err)
	}
	if len(w.spare) != many {
		t.Fatalf("%d spare ones; want %d", len(w.spare), many)
	}
	for i, o := range w.spare {
		if o.Context != nil || o.Owner != nil || o.Payload != nil || o.Headers != nil {
			t.Fatalf("the spare one %d keeps %+v", i, o)
		}
	}
	if w.span != nil || w.base != nil || w.tracer != nil || w.carried != nil || len(w.open) > 0 {
		t.Errorf("the work keeps %+v", w.spans)
	}
}
