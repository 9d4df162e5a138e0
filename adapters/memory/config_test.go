package memory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// Every mistake is named, by everything that is asked of the broker.
func TestConfigErrors(t *testing.T) {
	b := &memory.Broker{
		Order: 7, Bound: -1, Lanes: -2, Window: -3, DrainTimeout: -4,
		Backoff: memory.Backoff{Base: time.Second, Cap: time.Millisecond}, Limits: channel.Limits{Header: -5},
	}
	sub := b.Subscriber("group")
	_, subscribed := sub.Subscribe(t.Context(), "topic")
	outs := &outs{}
	b.Publisher().Send([]*adapters.Outgoing{{Topic: "topic", ID: "a"}}, outs.done)
	for what, err := range map[string]error{
		"publish":    b.Publisher().Publish("topic", msg("a", "")),
		"subscribe":  subscribed,
		"initialize": sub.SubscribeInitialize("topic"),
		"claim":      sub.Claim(t.Context(), []string{"topic"}, func(adapters.Claim) {}),
		"send":       outs.all[0].Err,
	} {
		if !errors.Is(err, memory.ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", what, err)
			continue
		}
		for _, field := range []string{"Order", "Bound", "Lanes", "Window", "DrainTimeout", "Backoff", "Limits"} {
			if !strings.Contains(err.Error(), field) {
				t.Errorf("%s: %v does not name %s", what, err, field)
			}
		}
	}
}

func TestAnyBackoffWorks(t *testing.T) {
	for _, backoff := range []memory.Backoff{
		{},
		{Base: 1, Cap: 1},
		{Base: time.Hour},
		{Base: 1 << 62, Cap: 1<<63 - 1},
	} {
		b := &memory.Broker{Backoff: backoff}
		virtual(t, b, func(t *testing.T) {
			publish(t, b.Publisher(), "topic", msg("a", ""))
			ms := subscribe(t, context.Background(), b.Subscriber(""), "topic")
			for range 70 {
				m, ok := <-ms
				if !ok {
					t.Fatalf("%v: channel closed", backoff)
				}
				m.Nack()
			}
			(<-ms).Ack()
		})
	}
}
