package faults_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/translator"
)

// F30 for errors that go to a caller: an id from outside is quoted in them.
func TestF30Texts(t *testing.T) {
	for _, id := range nasty {
		h, err := flow.HandlerFunc("pure", translator.Map(func(item) (item, error) { return item{}, errBad }, out))
		if err != nil {
			t.Fatal(err)
		}
		handle := func(h message.HandlerFunc) error {
			_, err := h(message.NewMessage(id, []byte(`{}`)))
			return err
		}
		putBack := func(headers ...string) error {
			m := message.NewMessage(id, nil)
			for _, name := range headers {
				m.Metadata[name] = id
			}
			_, _, err := flow.PutBack(m)
			return err
		}
		keyless := idempotency.Receiver{Store: &idempotency.Memory{}, Key: func(*channel.Envelope) string { return "" }}
		small := memory.Broker{Limits: channel.Limits{Body: 1}}
		for what, err := range map[string]error{
			"HandlerFunc": handle(h), "Middleware": handle(keyless.Middleware("a/b")(h)),
			"PutBack of no letter": putBack(), "PutBack of a notice": putBack(flow.DeadTopic, flow.DeadScope, flow.DeadSize, flow.DeadOrigin),
			"PutBack of a direct one": putBack(flow.DeadTopic, flow.DeadScope, flow.DeadDirect),
			"Publish":                 small.Publisher().Publish(id, message.NewMessage(id, []byte("too much"))),
		} {
			if err == nil || tidy(err.Error()) != "" {
				t.Errorf("%s: %q", what, err)
			}
		}
		var traces leattest.Traces
		var broker memory.Broker
		if err := traces.Config().Publisher(broker.Publisher()).Publish(id, message.NewMessage(id, nil)); err != nil {
			t.Fatal(err)
		}
		for _, s := range traces.Spans() {
			for _, kv := range s.Attributes {
				if wrong := tidy(kv.Value.String() + s.Name); wrong != "" {
					t.Errorf("a span of a plain publisher has %s: %q", wrong, s.Name)
				}
			}
		}
	}
}
