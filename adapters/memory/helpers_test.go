package memory_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// shutWith closes the broker when the test ends.
func shutWith(t *testing.T, b *memory.Broker) {
	t.Helper()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("closing the broker: %v", err)
		}
	})
}

// virtual runs a test in virtual time, with a broker that is closed at its end.
func virtual(t *testing.T, b *memory.Broker, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		shutWith(t, b)
		test(t)
	})
}

// msg makes a message whose payload is its id.
func msg(id, key string) *message.Message {
	m := message.NewMessage(id, []byte(id))
	if key != "" {
		m.Metadata[channel.HeaderKey] = key
	}
	return m
}

func publish(t *testing.T, pub message.Publisher, topic string, ms ...*message.Message) {
	t.Helper()
	if err := pub.Publish(topic, ms...); err != nil {
		t.Fatalf("publish: %v", err)
	}
}

func subscribe(t *testing.T, ctx context.Context, sub message.Subscriber, topic string) <-chan *message.Message { //nolint:revive // t first, as everywhere here.
	t.Helper()
	ms, err := sub.Subscribe(ctx, topic)
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return ms
}

// have gives what can be received now, unsettled; in virtual time only.
func have(ms <-chan *message.Message) (got []*message.Message) {
	for {
		synctest.Wait()
		select {
		case m, ok := <-ms:
			if !ok {
				return got
			}
			got = append(got, m)
		default:
			return got
		}
	}
}

// drain acknowledges everything that can be received now and gives the ids.
func drain(ms <-chan *message.Message) (ids []string) {
	for {
		got := have(ms)
		if len(got) == 0 {
			return ids
		}
		for _, m := range got {
			ids = append(ids, m.UUID)
			m.Ack()
		}
	}
}

func ids(ms []*message.Message) (ids []string) {
	for _, m := range ms {
		ids = append(ids, m.UUID)
	}
	return ids
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// closed reports whether the channel is closed now; in virtual time only.
func closed(ms <-chan *message.Message) bool {
	synctest.Wait()
	select {
	case _, ok := <-ms:
		return !ok
	default:
		return false
	}
}

// claiming is a claim whose own is the test: it runs until let go.
type claiming struct {
	adapters.Claim
	stop context.CancelFunc
	let  chan struct{}
	done chan error
}

// claim claims the topic "topic".
func claim(t *testing.T, sub adapters.Claims) *claiming {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	c := &claiming{stop: stop, let: make(chan struct{}), done: make(chan error, 1)}
	owned := make(chan adapters.Claim, 1)
	go func() {
		c.done <- sub.Claim(ctx, []string{"topic"}, func(x adapters.Claim) {
			owned <- x
			<-c.let
		})
	}()
	select {
	case c.Claim = <-owned:
	case err := <-c.done:
		t.Fatalf("claim: %v", err)
	}
	return c
}

// leave has own return and gives what Claim gave.
func (c *claiming) leave() error {
	close(c.let)
	defer c.stop()
	return <-c.done
}

// next reads up to n records that are there; it fails when there are none, as a deadlock of the test.
func (c *claiming) next(t *testing.T, n int) []*adapters.Record {
	t.Helper()
	rs, err := c.Next(make([]*adapters.Record, 0, n))
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return rs
}

func recordIDs(rs []*adapters.Record) (ids []string) {
	for i := range rs {
		ids = append(ids, rs[i].ID)
	}
	return ids
}

// outs are what Send calls done with.
type outs struct {
	mu  sync.Mutex
	all []*adapters.Outgoing
}

func (o *outs) done(outs []*adapters.Outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, outs...)
}

func (o *outs) ids() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.all {
		ids = append(ids, x.ID)
	}
	return ids
}
