package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

func finishes(c *claiming, rs ...*adapters.Record) []adapters.Finished {
	return []adapters.Finished{{Claim: c.Claim, Records: rs}}
}

// transact begins a transaction and gives what becomes of it.
func transact(ctx context.Context, pub *memory.Publisher, finished []adapters.Finished, outs ...*adapters.Outgoing) <-chan error {
	over := make(chan error, 1)
	go func() { over <- pub.Transact(ctx, finished, outs) }()
	synctest.Wait()
	return over
}

func underWay(over <-chan error) bool {
	synctest.Wait()
	return len(over) == 0
}

// A transaction whose last topic is full stores nothing on the others, and finishes nothing, until there
// is room; then everything at once.
func TestTransactWaitsForRoomInEveryTopic(t *testing.T) {
	b := &memory.Broker{Bound: 2}
	virtual(t, b, func(t *testing.T) {
		pub, group := b.Publisher(), b.Subscriber("group")
		publish(t, pub, "topic", msg("0", ""), msg("1", ""))
		publish(t, pub, "full", msg("f0", ""), msg("f1", ""))
		c := claim(t, group)
		rs := c.next(t, 10)
		a := subscribe(t, t.Context(), b.Subscriber("a"), "a")
		over := transact(t.Context(), pub, finishes(c, rs...), out(nobody, "a", "a0", ""), out(nobody, "full", "f2", ""), out(nobody, "a", "a1", ""))
		if got := ids(have(a)); !underWay(over) || len(got) > 0 || group.Lag("topic") != 2 {
			t.Fatalf("while there is no room %v are stored and %d are left", got, group.Lag("topic"))
		}
		full := subscribe(t, t.Context(), b.Subscriber("reader"), "full")
		m := <-full
		if !underWay(over) {
			t.Fatal("it did not wait for the acknowledgement")
		}
		m.Ack()
		if err := <-over; err != nil {
			t.Fatal(err)
		}
		if n := group.Lag("topic"); n != 0 {
			t.Errorf("%d are left", n)
		}
		same(t, "a", drain(a), []string{"a0", "a1"})
		same(t, "full", drain(full), []string{"f1", "f2"})
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
	})
}

// The room that a transaction makes is its own, and one that is larger than the bound passes, for a topic
// that is not full takes all of it.
func TestTransactMakesItsOwnRoom(t *testing.T) {
	b := &memory.Broker{Bound: 2}
	virtual(t, b, func(t *testing.T) {
		pub := b.Publisher()
		publish(t, pub, "topic", msg("0", ""), msg("1", ""))
		c := claim(t, b.Subscriber("group"))
		rs := c.next(t, 10)
		var more []*adapters.Outgoing
		for i := range 5 {
			o := out(nobody, "topic", fmt.Sprint("more", i), "")
			o.NoWait = true
			more = append(more, o)
		}
		if err := pub.Transact(t.Context(), finishes(c, rs[:1]...), more); err != nil {
			t.Fatal(err)
		}
		full := out(nobody, "topic", "no", "")
		full.NoWait = true
		err := pub.Transact(t.Context(), finishes(c, rs[1]), []*adapters.Outgoing{out(nobody, "elsewhere", "e", ""), full})
		if !errors.Is(err, adapters.ErrFull) || !errors.Is(full.Err, adapters.ErrFull) || b.Subscriber("group").Lag("topic") != 6 {
			t.Errorf("a full topic: %v, %v", err, full.Err)
		}
		same(t, "elsewhere", drain(subscribe(t, t.Context(), b.Subscriber("e"), "elsewhere")), nil)
		// One that waits is let in when the room is enough with what it finishes itself.
		over := transact(t.Context(), pub, finishes(c, rs[1]), out(nobody, "topic", "last", ""))
		got := c.next(t, 10)
		c.Finish(got[:3])
		if !underWay(over) {
			t.Fatal("it did not wait")
		}
		c.Finish(got[3:4])
		if err := <-over; err != nil {
			t.Fatal(err)
		}
		same(t, "left", recordIDs(append(got[4:], c.next(t, 10)...)), []string{"more4", "last"})
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
	})
}

// What cannot be done does nothing: a context that ends, an end that is closed, a message that is too
// large, a claim that is lost while the transaction waits, and one of another broker.
func TestTransactDoesAllOrNothing(t *testing.T) {
	for name, x := range map[string]struct {
		spoil func(b *memory.Broker, pub *memory.Publisher, c *claiming)
		wait  bool // for room, when it is spoilt
		want  error
	}{
		"context":              {nil, true, context.DeadlineExceeded},
		"publisher, before":    {func(_ *memory.Broker, p *memory.Publisher, _ *claiming) { _ = p.Close() }, false, adapters.ErrClosed},
		"publisher, meanwhile": {func(_ *memory.Broker, p *memory.Publisher, _ *claiming) { _ = p.Close() }, true, adapters.ErrClosed},
		"claim, before":        {func(_ *memory.Broker, _ *memory.Publisher, c *claiming) { _ = c.leave() }, false, adapters.ErrLost},
		"claim, meanwhile":     {func(_ *memory.Broker, _ *memory.Publisher, c *claiming) { _ = c.leave() }, true, adapters.ErrLost},
	} {
		t.Run(name, func(t *testing.T) {
			b := &memory.Broker{Bound: 1}
			virtual(t, b, func(t *testing.T) {
				pub, other := b.Publisher(), b.Publisher()
				publish(t, other, "topic", msg("0", "k"))
				c := claim(t, b.Subscriber("group"))
				rs := c.next(t, 10)
				if x.wait {
					publish(t, other, "full", msg("f", ""))
				} else {
					x.spoil(b, pub, c)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				over := transact(ctx, pub, finishes(c, rs...), out(nobody, "a", "a0", ""), out(nobody, "full", "f0", ""))
				if underWay(over) != x.wait {
					t.Fatalf("it waits: %v", !x.wait)
				}
				if x.wait && x.spoil != nil {
					x.spoil(b, pub, c)
				}
				if err := <-over; !errors.Is(err, x.want) {
					t.Errorf("it gives %v, want %v", err, x.want)
				}
				for _, topic := range []string{"a", "full"} {
					for _, id := range drain(subscribe(t, t.Context(), b.Subscriber("g"), topic)) {
						if id != "f" {
							t.Errorf("%s is on %s", id, topic)
						}
					}
				}
				if n := b.Subscriber("group").Lag("topic"); n != 1 {
					t.Errorf("%d are left, want 1", n)
				}
				if !errors.Is(x.want, adapters.ErrLost) {
					if err := c.leave(); err != nil {
						t.Fatal(err)
					}
				}
				publish(t, other, "full", msg("g", "")) // nothing stands in the queue for ever
			})
		})
	}
}

func TestTransactRefuses(t *testing.T) {
	b, foreign := &memory.Broker{Limits: channel.Limits{Body: 10}}, &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		defer foreign.Close()
		publish(t, foreign.Publisher(), "topic", msg("0", ""))
		publish(t, b.Publisher(), "topic", msg("0", ""))
		c, mine := claim(t, foreign.Subscriber("group")), claim(t, b.Subscriber("group"))
		rs, own := c.next(t, 1), mine.next(t, 1)
		if err := b.Publisher().Transact(t.Context(), finishes(c, rs...), nil); err == nil || !strings.Contains(err.Error(), `topic "topic"`) || !strings.Contains(err.Error(), "not of this memory broker") {
			t.Errorf("a claim of another broker: %v", err)
		}
		if err := b.Publisher().Transact(t.Context(), finishes(mine, rs...), nil); !errors.Is(err, adapters.ErrLost) {
			t.Errorf("a record of another broker: %v", err)
		}
		large, fine := out(nobody, "a", "01234567890", ""), out(nobody, "a", "1", "")
		fine.Err = adapters.ErrFull // of a try before
		if err := b.Publisher().Transact(t.Context(), finishes(mine, own...), []*adapters.Outgoing{fine, large}); !errors.Is(err, channel.ErrTooLarge) ||
			!errors.Is(large.Err, channel.ErrTooLarge) || fine.Err != nil {
			t.Errorf("a message that is too large: %v, %v, the other: %v", err, large.Err, fine.Err)
		}
		if err := b.Publisher().Transact(t.Context(), finishes(mine, own...), []*adapters.Outgoing{fine}); err != nil {
			t.Error(err)
		}
		if err := b.Publisher().Transact(t.Context(), finishes(mine, own...), nil); !errors.Is(err, adapters.ErrLost) {
			t.Errorf("what is finished already: %v", err)
		}
		bad := &memory.Broker{Window: -1}
		if err := bad.Publisher().Transact(t.Context(), nil, nil); !errors.Is(err, memory.ErrConfig) {
			t.Errorf("a broker that is configured wrong: %v", err)
		}
		for _, c := range []*claiming{c, mine} {
			if err := c.leave(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Transactions over the same topics in every order, plain publishes and readers beside them: nothing locks
// another out, and each transaction is whole.
func TestTransactSideBySide(t *testing.T) {
	b := &memory.Broker{Bound: 5}
	virtual(t, b, func(t *testing.T) {
		const writers, each = 8, 50
		names := []string{"a", "b", "c"}
		seen := map[string]map[string]int{}
		var mu sync.Mutex
		ctx, stop := context.WithCancel(t.Context())
		var reading sync.WaitGroup
		for _, name := range names {
			seen[name] = map[string]int{}
			ms := subscribe(t, ctx, b.Subscriber("g"), name)
			reading.Go(func() {
				for m := range ms {
					mu.Lock()
					seen[name][m.UUID]++
					mu.Unlock()
					m.Ack()
				}
			})
		}
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				pub := b.Publisher()
				for i := range each {
					id := fmt.Sprint(w, "-", i)
					var outs []*adapters.Outgoing
					for k := range names {
						outs = append(outs, out(nobody, names[(w+k)%len(names)], id, ""))
					}
					if err := pub.Transact(t.Context(), nil, outs); err != nil {
						t.Error(err)
					}
					if err := pub.Publish(names[w%len(names)], msg("plain"+id, "")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		time.Sleep(time.Minute)
		stop()
		reading.Wait()
		plain := 0
		for _, name := range names {
			for id, n := range seen[name] {
				if n != 1 {
					t.Errorf("%s came %d times on %s", id, n, name)
				}
				if strings.HasPrefix(id, "plain") {
					plain++
				}
			}
		}
		for w := range writers {
			for i := range each {
				for _, name := range names {
					if id := fmt.Sprint(w, "-", i); seen[name][id] != 1 {
						t.Errorf("%s is not on %s", id, name)
					}
				}
			}
		}
		if plain != writers*each {
			t.Errorf("%d plain messages of %d", plain, writers*each)
		}
	})
}
