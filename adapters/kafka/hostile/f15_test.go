package hostile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

const poisonAttempts = 3

var errPoison = errors.New("poison")

// A poisoned topic is one on which one message in a hundred fails at every attempt. It has its key with the
// message behind it, and with nobody else.
type poisoned struct {
	t        *testing.T
	addr     string
	in, dead string
	books    leattest.Ledger
	poison   map[string]bool
	behind   map[string]bool
	others   chan struct{} // closed when all is done that has not the key of poison

	mu               sync.Mutex
	waiting, effects int
	attempts         int // at poison
}

func newPoisoned(t *testing.T, n int) (*poisoned, uint64) {
	t.Helper()
	const hundred = 100
	rnd, seed := random(t)
	addr := broker(t)
	x := &poisoned{
		t: t, addr: addr, in: kafkatest.Topic(t, addr, 3), dead: kafkatest.Topic(t, addr, 1),
		poison: map[string]bool{}, behind: map[string]bool{}, others: make(chan struct{}),
	}
	pub := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	for batch := range n / hundred {
		ms := notes(fmt.Sprint("batch-", batch), hundred, 20)
		bad, key := rnd.IntN(hundred-1), fmt.Sprint("poison-", batch)
		ms[bad].Metadata[channel.HeaderKey], ms[bad+1].Metadata[channel.HeaderKey] = key, key
		x.poison[ms[bad].UUID], x.behind[ms[bad+1].UUID] = true, true
		x.books.Poison(ms[bad].UUID)
		publish(t, &x.books, pub, x.in, ms...)
		x.waiting += hundred - 2
	}
	return x, seed
}

// work fails on poison.
func (x *poisoned) work(id string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.poison[id] {
		x.attempts++
		return errPoison
	}
	x.books.Effect(id)
	x.effects++
	if !x.behind[id] {
		if x.waiting--; x.waiting == 0 {
			close(x.others)
		}
	}
	return nil
}

// close waits for all that is not poison and for every dead letter, has the reader stopped, and closes the books.
func (x *poisoned) close(seed uint64, n int, stop func()) {
	x.t.Helper()
	select {
	case <-x.others:
	case <-time.After(time.Minute):
		x.t.Fatal("while poison waits, others do too")
	}
	until(x.t, time.Minute, "what is behind poison is done", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return x.effects == n-len(x.poison)
	})
	stop()
	for _, l := range read(x.t, x.addr, x.dead) {
		x.books.DeadLetter(l.id())
		if got := l.get(flow.DeadAttempts); got != fmt.Sprint(poisonAttempts) {
			x.t.Errorf("%s died after %q attempts, want %d", l.id(), got, poisonAttempts)
		}
	}
	if got := once(x.t, x.addr, x.dead); got != len(x.poison) {
		x.t.Errorf("%d dead letters, want %d", got, len(x.poison))
	}
	if want := poisonAttempts * len(x.poison); x.attempts != want {
		x.t.Errorf("%d attempts at poison, want %d", x.attempts, want)
	}
	leave(x.t, &x.books, x.addr, x.in, x.in)
	x.books.Check(x.t, seed)
}

// F15: one message in a hundred is poison. Exactly those are in the dead letter, and only what comes behind one
// under its key waits for it: each is held until all the others are done.
func TestPoison(t *testing.T) {
	n := of(1000, 50_000)
	const window = 1 << 16 // all of them: nothing behind poison is committed
	t.Run("flow", func(t *testing.T) {
		x, seed := newPoisoned(t, n)
		f := newFlow(t, "poisoned",
			flow.Step("work", channel.Topic[string](x.in), endpoint.Do(func(_ context.Context, s string) error {
				select {
				case <-x.others:
				default:
					if x.poison[s] {
						return channel.Later(errPoison, 10*time.Millisecond)
					}
				}
				return x.work(s)
			})),
			flow.Policy{Attempts: poisonAttempts, Backoff: flow.Fixed(10 * time.Millisecond), DeadLetter: channel.Topic[[]byte](x.dead)},
			flow.Group(x.in))
		h, stop := start(t, f, publisher(t, kafka.PublisherConfig{Cluster: quiet(x.addr)}), subscriber(t, kafka.SubscriberConfig{Cluster: quiet(x.addr), Window: window}))
		x.close(seed, n, func() {
			stop()
			x.books.Accounts(h.Counts())
		})
	})
	t.Run("router", func(t *testing.T) {
		x, seed := newPoisoned(t, n)
		sub := subscriber(t, kafka.SubscriberConfig{
			Cluster: quiet(x.addr), Group: x.in, MaxAttempts: poisonAttempts, DeadLetter: x.dead,
			Backoff: kafka.Backoff{Base: 10 * time.Millisecond, Cap: 10 * time.Millisecond},
			Window:  window,
			Lanes:   1 << 20, // so that no two keys share one
		})
		r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		if err != nil {
			t.Fatal(err)
		}
		r.AddConsumerHandler("poisoned", x.in, sub, func(m *message.Message) error {
			id := strings.Trim(string(m.Payload), `"`)
			if x.poison[id] {
				<-x.others
			}
			return x.work(id)
		})
		ended := make(chan error)
		go func() { ended <- r.Run(context.WithoutCancel(t.Context())) }()
		x.close(seed, n, func() {
			if err := errors.Join(r.Close(), <-ended); err != nil {
				t.Error(err)
			}
		})
	})
}
