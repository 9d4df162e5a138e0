package main

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// never are the arrows that the orders below do not take: only a gadget finally fails, and nothing is late.
func never() (edges []string) {
	for _, s := range []string{
		"check", "split", "by-item", widgetInventory, "invalid-item", "assemble", "by-outcome", "confirm", "back-order", "refuse", "return",
	} {
		edges = append(edges, "step "+s+" --error --> topic orders.dead")
	}
	return append(edges, "clock assemble/timeout --time timeout--> step assemble")
}

// TestLaw4Orders: whatever becomes of orders, their traces are what -graph draws, on the engine and on a
// Watermill router, with two instances on one broker. What was put back is linked to its dead letter.
func TestLaw4Orders(t *testing.T) {
	for _, driver := range []leattest.Driver{leattest.Engine, leattest.Router} {
		t.Run(driver.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var traces leattest.Traces
				broker := &memory.Broker{}
				defer broker.Close()
				w, g := stock()
				groups := &aggregator.Memory{}
				var f *flow.Flow
				for range 2 {
					var err error
					if f, err = declare(w, g, groups, newLedger(io.Discard), flow.Tracing(traces.Config())); err != nil {
						t.Fatal(err)
					}
					_, stop := driver.Launch(t, f, broker.Publisher(), broker.Subscriber("orders"))
					defer stop()
				}
				letters := desk(t, broker)
				pub := broker.Publisher()
				for _, o := range []struct {
					id    string
					items []string
				}{{"1", []string{"W1", "G1", "G2", "X1"}}, {"2", []string{"W9"}}, {"3", []string{"X1"}}, {"4", nil}, {"5", []string{"G13", "W1"}}} {
					line, err := json.Marshal(order(o.id, o.items...))
					if err != nil {
						t.Fatal(err)
					}
					m := message.NewMessage(o.id, line)
					m.Metadata[channel.HeaderKey] = o.id
					if err := pub.Publish(string(newOrders), m); err != nil {
						t.Fatal(err)
					}
				}
				topic, m, err := flow.PutBack(<-letters)
				if err != nil {
					t.Fatal(err)
				}
				g.Recount()
				if err := pub.Publish(topic, m); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				traces.Check(t, f)
				traces.Covers(t, f, never()...)
				linked(t, traces.Of(f), m.UUID)
			})
		})
	}
}

// linked: the message that was put back begins a trace, and its span is linked to the send of its letter.
func linked(t *testing.T, spans []leattest.Span, id string) {
	t.Helper()
	sent := slices.IndexFunc(spans, func(s leattest.Span) bool { return s.Get(tracing.Letter) != "" && s.Get(tracing.MessageID) == id })
	if sent < 0 {
		t.Fatalf("no span says that %s went to the dead letter", id)
	}
	for _, s := range spans {
		if s.Op() == tracing.OpProcess && s.Get(tracing.MessageID) == id && !s.Parent.IsValid() {
			if len(s.Links) != 1 || s.Links[0].SpanContext.SpanID() != spans[sent].SpanContext.SpanID() {
				t.Errorf("%q of %s, put back, is linked to %v; want the send of its dead letter", s.Name, id, s.Links)
			}
			return
		}
	}
	t.Errorf("no trace begins with %s, put back", id)
}

// desk gives the dead letters.
func desk(t *testing.T, broker *memory.Broker) <-chan *message.Message {
	t.Helper()
	letters, err := broker.Subscriber("desk").Subscribe(context.WithoutCancel(t.Context()), string(dead))
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan *message.Message, 1)
	go func() {
		for m := range letters { // until the broker closes
			out <- m
			m.Ack()
		}
	}()
	return out
}
