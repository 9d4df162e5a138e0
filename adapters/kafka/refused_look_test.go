package kafka

import (
	"log/slog"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// A tap is a source that can be shut.
type tap struct{ shut int }

func (*tap) Messages() <-chan *sarama.ConsumerMessage { return nil }
func (*tap) HighWaterMarkOffset() int64               { return 0 }
func (t *tap) pause()                                 { t.shut++ }
func (t *tap) resume()                                { t.shut-- }

// A broker that is gone while somebody looks for what cannot be read leaves the partition as it was: it is read on,
// and looked into again when it is refused again. Breaks if it stays paused.
func TestLookingFails(t *testing.T) {
	conf := SubscriberConfig{Cluster: Cluster{Brokers: []string{"127.0.0.1:1"}, DialTimeout: 100 * time.Millisecond}, Group: "g"}.withDefaults()
	m := &member{conf: &conf, ctx: t.Context(), log: slog.New(slog.DiscardHandler), health: newHealth(slog.New(slog.DiscardHandler), &conf.Cluster)}
	defer m.health.end()
	src := &tap{}
	c := newClaim(t.Context(), &conf, nil, src, "topic", 0, 7)
	c.suspect = true
	m.investigate(c)
	if src.shut != 0 || c.held || c.suspect {
		t.Errorf("the partition is shut %d times, held %t, suspect %t", src.shut, c.held, c.suspect)
	}
	c.paused = true // for want of room
	src.shut = 1
	m.investigate(c)
	if src.shut < 1 || c.held {
		t.Errorf("the partition is shut %d times, held %t: there is no room for what it would bring", src.shut, c.held)
	}
}
