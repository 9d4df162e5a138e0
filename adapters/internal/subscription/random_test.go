package subscription_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/internal/subscription"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/leattest"
)

// Members of a group over memory's claims, in virtual time: they nack, hang, stop, are closed and lose
// what they own; dead letters fail and are slow. Every message is finished, each for a reason; nothing
// comes again after that, and no key's order is inverted.
func TestRandom(t *testing.T) {
	for seed := range leattest.Seeds(t, 60) {
		replay := leattest.Replay(t, seed)
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newWorld(t, seed).run() })
		})
		if !ok {
			t.Fatal(replay)
		}
	}
}

const (
	members  = 3
	lives    = 5
	messages = 250
	attempts = 3
)

type world struct {
	t       *testing.T
	seed    uint64
	broker  *memory.Broker
	conf    subscription.Config
	ordered bool

	mu     sync.Mutex
	r      *rand.Rand
	states map[string]*state
	streak map[string][]string // ids of a key, as published
	failed bool
}

// A state is what is known of one message, over all lives.
type state struct {
	settled  bool // acknowledged or dead at least once, though it may have been too late
	finished bool // for certain
	late     bool // it was tried as ownership ended: it may come again, or not
	nacks    int
	dead     int
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	w := &world{t: t, seed: seed, r: r, states: map[string]*state{}, streak: map[string][]string{}}
	w.broker = &memory.Broker{
		Order: adapters.Order(r.IntN(3)), Lanes: 1 + r.IntN(8), Window: 1 + r.IntN(20), DrainTimeout: 10 * time.Millisecond,
		Backoff: memory.Backoff{Cap: 2 * time.Millisecond},
	}
	w.conf = subscription.Config{
		Lanes: 1 + r.IntN(8), Backoff: subscription.Backoff{Base: time.Millisecond, Cap: 4 * time.Millisecond},
		MaxAttempts: attempts, DeadLetter: "dead", Drain: time.Duration(1+r.IntN(20)) * time.Millisecond,
		Log: slog.New(slog.DiscardHandler),
	}
	w.ordered = w.broker.Order != adapters.Unordered
	t.Cleanup(func() {
		if err := w.broker.Close(); err != nil {
			t.Errorf("closing the broker: %v", err)
		}
	})
	return w
}

func (w *world) fault(format string, args ...any) {
	if !w.failed {
		w.failed = true
		w.t.Errorf(format, args...)
	}
}

func (w *world) n(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.r.IntN(n)
}

// poison is nacked always, and unreadable is no message. They are told by the id.
func poison(id string) bool     { return sort(id) == 0 }
func unreadable(id string) bool { return sort(id) == 1 }

func sort(id string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(id))
	return h.Sum32() % 20
}

func (w *world) run() {
	w.t.Logf("%v, %+v, broker's window %d", w.broker.Order, w.conf, w.broker.Window)
	if err := w.broker.Subscriber("group").SubscribeInitialize("topic"); err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	defer stop()
	var all sync.WaitGroup
	for range members {
		all.Go(func() {
			for range lives {
				w.live(ctx, true)
			}
			w.live(ctx, false)
		})
	}
	w.publish()
	for start := time.Now(); w.open() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > time.Minute {
			w.t.Fatalf("%d of %d messages are never finished", w.open(), messages)
		}
	}
	stop()
	all.Wait()
	for id, s := range w.states {
		if s.dead == 0 && (poison(id) || unreadable(id)) {
			w.fault("%s was nacked %d times and has no dead letter", id, s.nacks)
		}
	}
}

func (w *world) publish() {
	pub := w.broker.Publisher()
	for i := range messages {
		key := []string{"", "a", "b", "c", "d"}[w.n(5)]
		if w.broker.Order == adapters.Ordered {
			key = "a"
		}
		m := message.NewMessage(fmt.Sprintf("%s/%d", key, i), []byte("body"))
		if key != "" {
			m.Metadata[channel.HeaderKey] = key
		}
		w.mu.Lock()
		w.states[m.UUID] = &state{}
		w.streak[key] = append(w.streak[key], m.UUID)
		w.mu.Unlock()
		if err := pub.Publish("topic", m); err != nil {
			w.t.Errorf("publishing: %v", err)
		}
		if w.n(5) == 0 {
			time.Sleep(time.Duration(w.n(3)) * time.Millisecond)
		}
	}
}

// open counts what is not finished, when nobody moves.
func (w *world) open() (n int) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.states {
		if !s.finished && !s.late {
			n++
		}
	}
	return n
}

// A life is one subscription of one member. It stands between Deliver and the broker and sees both
// sides: it is the claim and the publisher of the dead letters.
type life struct {
	adapters.Claim

	w      *world
	wild   bool
	reason map[string]bool // by id that is with it: there is a reason to finish it
}

func (w *world) live(ctx context.Context, wild bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, out := w.broker.Subscriber("group"), make(chan *message.Message)
	var all sync.WaitGroup
	all.Go(func() {
		defer close(out)
		err := sub.Claim(ctx, []string{"topic"}, func(c adapters.Claim) {
			l := &life{Claim: c, w: w, wild: wild, reason: map[string]bool{}}
			conf := w.conf
			conf.Publish = l
			conf.Message = func(r *adapters.Record) *message.Message {
				m := message.NewMessage(r.ID, r.Payload)
				m.Metadata[channel.HeaderKey] = r.Key
				l.offering(r)
				return m
			}
			if err := conf.Err(); err != nil {
				w.t.Error(err)
			}
			conf.Deliver(context.WithValue(ctx, lifeKey{}, l), l, out)
			l.over()
		})
		if err != nil && !errors.Is(err, adapters.ErrClosed) {
			w.t.Errorf("claim: %v", err)
		}
	})
	all.Go(func() {
		for m := range out {
			all.Go(func() { m.Context().Value(lifeKey{}).(*life).handle(m) })
		}
	})
	if wild {
		time.Sleep(time.Duration(w.n(60)) * time.Millisecond)
	} else {
		<-ctx.Done()
	}
	if w.n(2) == 0 {
		cancel()
	} else {
		sub.Close()
	}
	all.Wait()
}

type lifeKey struct{}

// handle is a handler, which may be slow, wrong, or never come to an end.
func (l *life) handle(m *message.Message) {
	w := l.w
	l.delivered(m.UUID)
	took := w.n(3)
	if l.wild && w.n(20) == 0 {
		took = 25 // longer than what the drain may take
	}
	time.Sleep(time.Duration(took) * time.Millisecond)
	act := w.n(10)
	w.mu.Lock()
	s := w.states[m.UUID]
	switch {
	case l.wild && act == 0:
		w.mu.Unlock()
		<-m.Context().Done()
		w.mu.Lock()
	case poison(m.UUID) || l.wild && act <= 2:
		s.nacks++
		w.mu.Unlock()
		m.Nack()
		w.mu.Lock()
	default:
		s.settled = true
		if _, has := l.reason[m.UUID]; has {
			l.reason[m.UUID] = true
		}
		w.mu.Unlock()
		m.Ack()
		w.mu.Lock()
	}
	w.mu.Unlock()
}

// offering is told before an attempt.
func (l *life) offering(r *adapters.Record) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if r.Err != nil {
		l.w.fault("%s is no message and is offered", r.ID)
	}
	if done, has := l.reason[r.ID]; done || !has {
		l.w.fault("%s is offered: done %t, ours %t", r.ID, done, has)
	}
}

func (l *life) delivered(id string) {
	w := l.w
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.states[id]
	s.late = false
	if s.finished {
		w.fault("%s came again after it was finished", id)
	}
	key, _, _ := strings.Cut(id, "/")
	for _, before := range w.streak[key] {
		if before == id || !w.ordered {
			break
		}
		if b := w.states[before]; !b.settled && !unreadable(before) {
			w.fault("%s came before %s was settled", id, before)
		}
	}
}

// Next is documented at adapters.Claim.
func (l *life) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	run, err := l.Claim.Next(run)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	for i := range run {
		if unreadable(run[i].ID) {
			run[i].Err = channel.ErrDecode
		}
		l.reason[run[i].ID] = false
	}
	return run, err
}

// Finish is documented at adapters.Claim.
func (l *life) Finish(rs []*adapters.Record) {
	l.w.mu.Lock()
	for i := range rs {
		if done, has := l.reason[rs[i].ID]; !done || !has {
			l.w.fault("%s is finished: done %t, ours %t", rs[i].ID, done, has)
		}
		delete(l.reason, rs[i].ID)
	}
	l.w.mu.Unlock()
	l.Claim.Finish(rs)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.Claim.Context().Err() != nil {
		for i := range rs {
			l.w.states[rs[i].ID].late = true
		}
		return
	}
	for i := range rs {
		l.w.states[rs[i].ID].finished = true
	}
}

// Return is documented at adapters.Claim.
func (l *life) Return(rs []*adapters.Record) {
	l.w.mu.Lock()
	for i := range rs {
		if _, has := l.reason[rs[i].ID]; !has {
			l.w.fault("%s is returned and was not ours", rs[i].ID)
		}
		delete(l.reason, rs[i].ID)
	}
	l.w.mu.Unlock()
	l.Claim.Return(rs)
}

// over is told when Deliver has returned: what it was given is finished, returned or lost.
func (l *life) over() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if len(l.reason) > 0 && l.Claim.Context().Err() == nil {
		l.w.fault("Deliver has returned and kept %v", l.reason)
	}
}

// Send is documented at adapters.BatchPublisher.
func (l *life) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	took, fails := l.w.n(4), l.w.n(3) == 0
	go func() {
		time.Sleep(time.Duration(took) * time.Millisecond)
		l.w.mu.Lock()
		for _, o := range outs {
			s := l.w.states[o.ID]
			switch {
			case fails:
				o.Err = errors.New("the dead letter is down")
				continue
			case s.nacks == 0 && !unreadable(o.ID): // deliveries that came to nothing count too
				l.w.fault("%s is dead and was never nacked", o.ID)
			}
			s.dead++
			s.settled = true
			if _, has := l.reason[o.ID]; has {
				l.reason[o.ID] = true
			}
		}
		l.w.mu.Unlock()
		done(outs)
	}()
}
