package flow_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
)

// book is what was logged.
type book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *book) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSuffix(b.buf.String(), "\n"), "\n")
}

// A moody is a publisher that fails as long as it is told to.
type moody struct {
	message.Publisher

	down atomic.Bool
}

func (p *moody) Publish(topic string, ms ...*message.Message) error {
	if p.down.Load() {
		return errors.New("broker is away")
	}
	return p.Publisher.Publish(topic, ms...)
}

// Breaks if messages that fare well are logged, or if an outage is a line for each message that meets it.
func TestOutageIsOneLine(t *testing.T) {
	const in, out channel.Topic[int] = "in", "out"
	synctest.Test(t, func(t *testing.T) {
		b, said := &memory.Broker{}, &book{}
		defer b.Close()
		store := atomic.Bool{} // it is down
		f, err := flow.New("f", flow.Policy{DeadLetter: "dead"}, flow.Logger(slog.New(slog.NewTextHandler(said, nil))), flow.Workers(2000),
			flow.Tracing(tracing.Config{Off: true}),
			flow.Step("route", in, router.Content(router.Otherwise(out))),
			flow.Step("end", out, endpoint.Do(func(context.Context, int) error {
				if store.Load() {
					return channel.Later(errors.New("the store is away"), time.Second)
				}
				return nil
			})))
		if err != nil {
			t.Fatal(err)
		}
		pub := &moody{Publisher: b.Publisher()}
		h, err := f.Start(t.Context(), pub, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		n := 0
		send := func() {
			t.Helper()
			for range 1000 {
				n++
				m := message.NewMessage(fmt.Sprint(n), fmt.Append(nil, n))
				m.Metadata[channel.HeaderKey] = m.UUID
				if err := b.Publisher().Publish(string(in), m); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(30 * time.Second)
			synctest.Wait()
		}
		expect := func(what string, lines int) {
			t.Helper()
			if got := said.lines(); len(got) != lines || strings.Contains(got[0], "level=INFO") {
				t.Errorf("%s: %d lines, want %d:\n%s", what, len(got), lines, strings.Join(got, "\n"))
			}
		}
		send()
		if got := said.lines(); got[0] != "" {
			t.Errorf("all is well, and it logs %q", got)
		}
		pub.down.Store(true)
		send()
		expect("the broker is away", 1)
		time.Sleep(time.Minute)
		expect("it is away for more than a minute", 2)
		if got := said.lines(); !strings.Contains(got[1], "more=") || !strings.Contains(got[1], "step=route") || !strings.Contains(got[1], "message_id=") {
			t.Errorf("the second line does not say how many: %s", got[1])
		}
		pub.down.Store(false)
		send()
		expect("it is back", 2)
		store.Store(true)
		send()
		expect("the store is away", 3)
		store.Store(false)
		time.Sleep(time.Minute)
		if c := h.Counts()["end"]; c.Done != int64(n) {
			t.Errorf("%v of %d messages came to their end", c, n)
		}
	})
}
