package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// Instances of a flow that is ExactlyOnce are killed before or after any of their commits, and stopped,
// while blocks and commits fail, claims are lost and topics are full. In the end every message came out of
// the last topic once, or is one dead letter, and each key in its order.
func TestExactlyOnceLedger(t *testing.T) {
	kills, stops, losses := 0, 0, 0
	for seed := range leattest.Seeds(t, 40) {
		synctest.Test(t, func(t *testing.T) {
			l := &ledger{T: t, rnd: rand.New(rand.NewPCG(seed, 1))}
			l.run()
			kills, stops, losses = kills+l.kills, stops+l.stops, losses+l.losses
		})
		if t.Failed() {
			t.Fatalf("replay with: %s", leattest.Replay(t, seed))
		}
	}
	t.Logf("%d kills, %d stops, %d claims lost", kills, stops, losses)
	if kills == 0 || stops == 0 || losses == 0 {
		t.Errorf("%d kills, %d stops, %d claims lost: the test does not do what it says", kills, stops, losses)
	}
}

const (
	ledgerMessages = 120
	ledgerKeys     = 7
)

// A ledger is one history.
type ledger struct {
	T      *testing.T
	broker *memory.Broker

	mu                   sync.Mutex
	rnd                  *rand.Rand
	calm                 bool
	kills, stops, losses int
}

func (l *ledger) one(in int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.calm && l.rnd.IntN(in) == 0
}

func (l *ledger) below(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rnd.IntN(n)
}

// A clerk is an instance.
type clerk struct {
	*memory.Publisher

	l     *ledger
	thief *thief
	h     *flow.Handle
	mu    sync.Mutex
	fuse  int // commits that are left; below 0: any number
	after bool
	dead  bool
}

// Transact is the broker's, while the instance lives.
func (c *clerk) Transact(ctx context.Context, finished []adapters.Finished, outs []*adapters.Outgoing) error {
	pause(ctx, time.Duration(c.l.below(20))*time.Millisecond)
	c.mu.Lock()
	c.fuse--
	last := c.fuse == 0 && !c.dead
	c.dead = c.dead || last
	dead := c.dead
	c.mu.Unlock()
	switch {
	case last && c.after:
		_ = c.Publisher.Transact(ctx, finished, outs)
		return adapters.ErrFenced
	case dead:
		return adapters.ErrFenced
	case c.l.one(6):
		return errWire
	case c.l.one(20) && len(outs) > 0:
		o := outs[c.l.below(len(outs))]
		o.Err = errWire
		return errWire
	case c.l.one(30) && len(finished) > 0:
		topic := finished[c.l.below(len(finished))].Claim.Topic()
		if c.l.one(2) {
			c.thief.steal(topic)
		}
		return fmt.Errorf("%s: %w", topic, adapters.ErrLost)
	case c.l.one(40):
		panic("commit")
	}
	return c.Publisher.Transact(ctx, finished, outs)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// kill is a crash: from now on nothing of it reaches anybody, and others read what it had.
func (c *clerk) kill() {
	c.mu.Lock()
	c.dead = true
	c.mu.Unlock()
	c.thief.mu.Lock()
	for _, lose := range c.thief.lose {
		lose(adapters.ErrLost)
	}
	c.thief.mu.Unlock()
	c.h.Stop()
}

func (c *clerk) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// dies reports a message that fails for good at a step, by its number.
func dies(n int, step string) bool {
	return step == "a" && n%17 == 3 || step == "b" && n%13 == 5
}

func (l *ledger) fails(step string, n int) error {
	switch {
	case dies(n, step):
		return channel.Permanent(errFlaky)
	case l.one(12):
		return errFlaky
	case l.one(20):
		return channel.Later(errFlaky, time.Duration(1+l.below(2000))*time.Millisecond)
	}
	return nil
}

// hire starts an instance.
func (l *ledger) hire(fuse int) *clerk {
	l.T.Helper()
	c := &clerk{
		Publisher: l.broker.Publisher(), l: l, fuse: fuse, after: l.below(2) == 0,
		thief: &thief{Subscriber: l.broker.Subscriber("f"), lose: map[string]context.CancelCauseFunc{}},
	}
	a := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		if err := l.fails("a", m.Body.N); err != nil {
			return channel.Result{}, err
		}
		return channel.Send(channel.To(sorted, m.Body), channel.To(sorted, m.Body)), nil
	}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted)}}}
	b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		if err := l.fails("b", m.Body.N); err != nil {
			return channel.Result{}, err
		}
		return channel.Send(channel.To(stickers, sticker{m.Body.ID, m.Body.N})), nil
	}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", stickers)}}}
	f := mustNew(l.T, "f", flow.ExactlyOnce(), flow.Workers(1+l.below(4)),
		flow.Policy{Attempts: 1000, Backoff: flow.Exponential(10*time.Millisecond, time.Second), DeadLetter: dead},
		flow.Step("a", arrivals, a), flow.Step("b", sorted, b))
	c.h = must(f.Start(context.Background(), c, c.thief))(l.T)
	return c
}

func (l *ledger) run() {
	l.broker = &memory.Broker{Bound: 20 + l.below(200), Window: 5 + l.below(60), DrainTimeout: time.Minute}
	defer l.broker.Close()
	// The outputs are read by a group that keeps up, so that nothing is full for good.
	out, stop := map[string][]*adapters.Record{}, []func(){}
	for _, topic := range []string{"stickers", "dead"} {
		stop = append(stop, l.collect(topic, out))
	}
	given := make(chan struct{})
	go func() {
		defer close(given)
		for i := range ledgerMessages {
			m := message.NewMessage(fmt.Sprint("p", i), must(json.Marshal(parcel{ID: fmt.Sprint("p", i), N: i}))(l.T))
			if k := i % (ledgerKeys + 1); k > 0 {
				m.Metadata[channel.HeaderKey] = fmt.Sprint("k", k)
			}
			if err := l.broker.Publisher().Publish("arrivals", m); err != nil {
				l.T.Error(err)
			}
			time.Sleep(time.Duration(l.below(100)) * time.Millisecond)
		}
	}()
	clerks := []*clerk{l.hire(1 + l.below(30)), l.hire(1 + l.below(30))}
	for over := time.Now().Add(10 * time.Second); time.Now().Before(over); {
		time.Sleep(time.Duration(1+l.below(400)) * time.Millisecond)
		at, chance := l.below(len(clerks)), l.below(16)
		switch c := clerks[at]; {
		case c.isDead():
			l.kills++
			c.kill()
			balanced(l.T, c.h)
			clerks[at] = l.hire(1 + l.below(30))
		case chance < 2:
			l.stops++
			c.h.Stop()
			balanced(l.T, c.h)
			clerks[at] = l.hire(1 + l.below(30))
		case chance < 4:
			l.losses++
			c.thief.steal([]string{"arrivals", "sorted"}[l.below(2)])
		}
	}
	l.mu.Lock()
	l.calm = true
	l.mu.Unlock()
	for _, c := range clerks {
		c.kill()
		balanced(l.T, c.h)
	}
	last := l.hire(-1)
	<-given
	time.Sleep(time.Hour)
	synctest.Wait()
	last.h.Stop()
	balanced(l.T, last.h)
	for _, stop := range stop {
		stop()
	}
	l.judge(out)
}

// collect reads a topic into out until it is stopped.
func (l *ledger) collect(topic string, out map[string][]*adapters.Record) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	var rs []*adapters.Record
	go func() {
		over <- l.broker.Subscriber("judge").Claim(ctx, []string{topic}, func(c adapters.Claim) {
			for {
				run, err := c.Next(make([]*adapters.Record, 0, 100))
				rs = append(rs, run...)
				c.Finish(run)
				if err != nil {
					return
				}
			}
		})
	}()
	synctest.Wait()
	return func() {
		synctest.Wait()
		cancel()
		if err := <-over; err != nil && !errors.Is(err, context.Canceled) {
			l.T.Error(err)
		}
		out[topic] = rs
	}
}

func (l *ledger) judge(out map[string][]*adapters.Record) {
	l.T.Helper()
	for _, topic := range []string{"arrivals", "sorted"} {
		if n := l.broker.Subscriber("f").Lag(topic); n != 0 {
			l.T.Errorf("%d are left on %s", n, topic)
		}
	}
	copies, seen, last := map[int]int{}, map[string]bool{}, map[string]int{}
	for _, r := range out["stickers"] {
		var s sticker
		if err := json.Unmarshal(r.Payload, &s); err != nil {
			l.T.Fatal(err)
		}
		if seen[r.ID] {
			l.T.Errorf("%s of %s is out twice", r.ID, s.Parcel)
		}
		seen[r.ID] = true
		copies[s.N]++
		if n, ok := last[r.Key]; r.Key != "" {
			if ok && s.N < n {
				l.T.Errorf("key %s: %d after %d", r.Key, s.N, n)
			}
			last[r.Key] = s.N
		}
	}
	letters := map[int]int{}
	for _, r := range out["dead"] {
		var p parcel
		if err := json.Unmarshal(r.Payload, &p); err != nil {
			l.T.Fatal(err)
		}
		letters[p.N]++
	}
	for n := range ledgerMessages {
		wantOut, wantDead := 2, 0
		switch {
		case dies(n, "a"):
			wantOut, wantDead = 0, 1
		case dies(n, "b"):
			wantOut, wantDead = 0, 2
		}
		if copies[n] != wantOut || letters[n] != wantDead {
			l.T.Errorf("message %d is out %d times and dead %d times, want %d and %d", n, copies[n], letters[n], wantOut, wantDead)
		}
	}
}
