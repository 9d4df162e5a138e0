package faults_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
)

// F21: what was handed over in the process has no bytes. If it fails and its codec panics when its dead
// letter is written, the letter says so and has none either.
func TestF21NoBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.driver = claims
		var letter *message.Message
		w.names = func(m *message.Message) []string { return []string{m.UUID} }
		w.dead = func(m *message.Message) { letter = m }
		p := w.process(nil)
		p.run("shop",
			flow.Step("do", incoming, endpoint.Do(func(context.Context, item) error { return channel.Permanent(errFlaky) })),
			flow.Direct(incoming), flow.Codec(fragile{w: w}), flow.Policy{DeadLetter: dead},
		)
		feed, err := flow.Into(p.handle, incoming)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := feed(ctx, "m1", item{ID: "m1", Fault: "encode"}); err != nil {
			t.Errorf("feeding: %v; want its dead letter written", err)
		}
		w.ledger.dies("m1")
		w.ledger.published("m1", "")
		pass(time.Second)
		if r := w.end(); !r.zero() {
			t.Error(r)
		}
		if letter == nil || letter.Metadata.Get(flow.DeadClass) == "" || json.Valid(letter.Payload) {
			t.Errorf("dead letter %+v", letter)
		}
	})
}
