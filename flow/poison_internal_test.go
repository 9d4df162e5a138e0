package flow

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
)

// Every envelope is spoiled when its attempt is over. Whoever keeps one, the aggregator's store, the
// receiver, the broker, the dead letter, a retry, would show it: "poisoned" comes out.
func TestNobodyKeepsAnEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			in, hop, lines channel.Topic[string] = "in", "hop", "lines"
			out            channel.Topic[string] = "out"
		)
		group := &aggregator.Aggregator[string, string]{
			Correlate: func(s string) string { return s[:1] },
			Combine:   func(_ string, all []string) (string, error) { return strings.Join(all, "+"), nil },
			To:        out, Size: 4, Timeout: time.Minute, Store: &aggregator.Memory{},
		}
		seen := map[string]int{}
		flaky := func(m channel.Message[string]) ([]string, error) {
			if seen[m.ID()]++; m.Body == "dead" || seen[m.ID()] < 2 {
				return nil, errors.New("flaky")
			}
			return []string{m.Body + "1", m.Body + "2"}, nil
		}
		f, err := New("f", Policy{DeadLetter: "dead"}, Workers(1), Direct(hop, lines),
			Around(idempotency.Receiver{Store: &idempotency.Memory{}, Fence: true}, channel.Expiry{To: "late"}),
			Step("route", in, router.Content(router.Otherwise(hop))),
			Step("split", hop, router.SplitMessage(flaky, lines)),
			Step("group", lines, group),
			Step("watch", lines, endpoint.DoMessage(func(m channel.Message[string]) error {
				w, err := m.Watermill()
				if err == nil && strings.Contains(fmt.Sprint(w.UUID, w.Metadata, string(w.Payload), m.Topic(), m.Scope(), m.Key()), "poisoned") {
					err = channel.Permanent(errors.New("poisoned"))
				}
				return err
			})))
		if err != nil {
			t.Fatal(err)
		}
		f.poison = true
		b := &memory.Broker{}
		defer b.Close()
		x := &sniffer{to: b.Publisher()}
		h, err := f.Start(t.Context(), x, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			body := fmt.Sprintf("%c", 'a'+i%4)
			if i%10 == 9 {
				body = "dead"
			}
			m := message.NewMessage(fmt.Sprint("m", i), fmt.Appendf(nil, "%q", body))
			m.Metadata = message.Metadata{channel.HeaderKey: "k" + body, "tenant": "blue"}
			if err := b.Publisher().Publish("in", m); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		h.Stop()
		for name, c := range h.Counts() {
			if !c.Balanced() || c.InFlight != 0 {
				t.Errorf("step %s: %v", name, c)
			}
		}
		if len(x.got) < 16 {
			t.Errorf("only %d came out: %v", len(x.got), h.Counts())
		}
		for _, s := range x.got {
			// What a clock completes has the clock's headers.
			if strings.Contains(s, "poisoned") || !strings.Contains(s, "blue") && !strings.Contains(s, "timeout") {
				t.Errorf("somebody kept an envelope: %s", s)
			}
		}
	})
}

// A sniffer looks at what is published once, and again when all is over, in case it was kept.
type sniffer struct {
	to  *memory.Publisher
	mu  sync.Mutex
	got []string
}

func (x *sniffer) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	x.mu.Lock()
	for _, o := range outs {
		x.got = append(x.got, fmt.Sprintf("%s %s %s %v %s", o.Topic, o.ID, o.Key, o.Headers, o.Payload))
	}
	x.mu.Unlock()
	x.to.Send(outs, done)
}
func (*sniffer) Publish(string, ...*message.Message) error { return errors.New("not in batches") }
func (*sniffer) Close() error                              { return nil }

// The poison is found: without this the test above could not fail.
func TestAKeptEnvelopeIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []*channel.Envelope
		f, err := New("f", Policy{DeadLetter: "dead"}, Around(keeper{&kept}),
			Step("a", channel.Topic[string]("in"), endpoint.Do(func(context.Context, string) error { return nil })))
		if err != nil {
			t.Fatal(err)
		}
		f.poison = true
		b := &memory.Broker{}
		defer b.Close()
		h, err := f.Start(t.Context(), b.Publisher(), b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publisher().Publish("in", message.NewMessage("m1", []byte(`"x"`))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.Stop()
		if len(kept) != 1 || kept[0].ID() != "poisoned" {
			t.Errorf("a kept envelope is not spoiled: %v", kept)
		}
	})
}

type keeper struct{ kept *[]*channel.Envelope }

func (k keeper) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) {
	*k.kept = append(*k.kept, e)
	return channel.Result{}, nil, nil
}
func (keeper) Shape() channel.Shape { return channel.Shape{} }
