package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// A tracer notes the arrows that messages go along, as a trace would have them.
type tracer struct {
	flow *Flow
	to   *memory.Publisher

	mu    sync.Mutex
	drawn map[string]bool
}

func (x *tracer) arrow(from, to string) {
	x.mu.Lock()
	x.drawn[from+" > "+to] = true
	x.mu.Unlock()
}

func (x *tracer) stepOf(scope string) string {
	for _, s := range x.flow.steps {
		if s.scope == scope {
			return stepNode + s.name
		}
	}
	return "no step " + scope
}

func (x *tracer) entered(e *channel.Envelope, in *inlet) {
	switch {
	case e.Tick():
		x.arrow(clockNode+in.step.name+"/"+in.name, stepNode+in.step.name)
	case e.Cause() != nil:
		x.arrow(x.stepOf(e.Cause().Scope()), stepNode+in.step.name)
	default:
		x.arrow(topicNode+e.Topic(), stepNode+in.step.name)
	}
}

// Send notes what leaves.
func (x *tracer) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	for _, o := range outs {
		if e, ok := o.Owner.(*channel.Envelope); ok {
			x.arrow(x.stepOf(e.Cause().Scope()), topicNode+e.Topic())
		} else {
			x.arrow(stepNode+o.Headers.Get(DeadStep), topicNode+o.Topic)
		}
	}
	x.to.Send(outs, done)
}

func (x *tracer) Publish(string, ...*message.Message) error { return errors.New("not in batches") }
func (x *tracer) Close() error                              { return nil }

// A rogue sends where it does not say it does.
type rogue struct{ channel.Processor[string] }

func (r rogue) Process(m channel.Message[string]) (channel.Result, error) {
	if m.Body == "rogue" {
		return channel.Send(channel.Forward("secret", m)), nil
	}
	return r.Processor.Process(m)
}

// Breaks if a message can go where no arrow is: if deliver let undeclared destinations through, or the
// drawing forgot interceptors, clocks or dead letters.
func TestLaw4ATraceStaysOnDrawnEdges(t *testing.T) {
	const (
		in, hop, parts, lost channel.Topic[string] = "in", "hop", "parts", "lost"
		out                  channel.Topic[string] = "out"
	)
	synctest.Test(t, func(t *testing.T) {
		fail := func(s string) (string, error) {
			if strings.Contains(s, "bad") {
				return "", errors.New("bad")
			}
			return s, nil
		}
		group := &aggregator.Aggregator[string, string]{
			Correlate: func(s string) string { return s[:1] },
			Combine:   func(_ string, all []string) (string, error) { return fail(strings.Join(all, "+")) },
			To:        out, Size: 3, Timeout: time.Second, Store: &aggregator.Memory{},
		}
		f, err := New("f", Policy{Attempts: 1, DeadLetter: "dead"}, Direct(hop, parts),
			Step("route", in, channel.Processor[string](rogue{router.Content(
				router.When("hop", func(s string) bool { return strings.HasPrefix(s, "h") }, hop),
				router.When("group", func(s string) bool { return strings.HasPrefix(s, "g") }, parts),
				router.When("lost", func(s string) bool { return s == "lost" }, lost))}),
				Around(channel.InvalidChannel{To: "invalid"}, channel.Expiry{To: "late"})),
			Step("map", hop, translator.Map(fail, out)),
			Step("group", parts, group),
			Step("end", out, endpoint.Do(func(_ context.Context, s string) error { _, err := fail(s); return err })))
		if err != nil {
			t.Fatal(err)
		}
		b := &memory.Broker{}
		defer b.Close()
		x := &tracer{flow: f, to: b.Publisher(), drawn: map[string]bool{}}
		f.observer = x
		h, err := f.Start(t.Context(), x, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		pub := b.Publisher()
		for i, body := range []string{`"h"`, `"h bad"`, `"g1"`, `"g2"`, `"g3"`, `"g4"`, `"g bad"`, `"lost"`, `"rogue"`, `"nowhere"`, `1`, `"h late"`} {
			m := message.NewMessage(fmt.Sprint(i), []byte(body))
			if strings.Contains(body, "late") {
				m.Metadata[channel.HeaderExpires] = "2000-01-01T00:00:00Z"
			}
			if err := pub.Publish("in", m); err != nil {
				t.Fatal(err)
			}
		}
		m := message.NewMessage("bad", []byte(`"bad"`))
		if err := pub.Publish("out", m); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		var want []string
		for _, e := range f.Edges() {
			want = append(want, e.From+" > "+e.To)
		}
		for arrow := range x.drawn {
			if !slices.Contains(want, arrow) {
				t.Errorf("a message went along %s, which is not drawn", arrow)
			}
		}
		for _, arrow := range want { // or this test would see nothing
			if !x.drawn[arrow] {
				t.Errorf("no message went along %s", arrow)
			}
		}
	})
}
