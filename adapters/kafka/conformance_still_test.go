//go:build stress && unix && !race

package kafka_test

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A patient subscriber holds the last of n messages back until Watermill's TestReconnect has noted all that it has
// sent: it notes a message after its publish, and may count one too few if that is delivered first.
type patient struct {
	message.Subscriber
	n int
}

func (p patient) SubscribeInitialize(topic string) error {
	return p.Subscriber.(message.SubscribeInitializer).SubscribeInitialize(topic) //nolint:forcetypeassert // It is ours.
}

func (p patient) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := p.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		seen := map[string]bool{}
		for m := range in {
			if seen[m.UUID] = true; len(seen) == p.n {
				still()
			}
			out <- m
		}
	}()
	return out, nil
}

// still waits, for at most half a minute, until none of the test's publishers is left and what notes their messages
// waits for more.
func still() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	buf := make([]byte, 16<<20)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		busy := false
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if head, _, _ := strings.Cut(g, "\n"); strings.Contains(g, "tests.TestReconnect.func") && !strings.Contains(head, "[chan receive") {
				busy = true
			}
			busy = busy || strings.Contains(g, "tests.TestReconnect.func3")
		}
		if !busy {
			return
		}
	}
}
