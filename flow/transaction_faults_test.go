package flow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// A thief is a Subscriber whose claims can be lost: by topic.
type thief struct {
	message.Subscriber

	mu   sync.Mutex
	lose map[string]context.CancelCauseFunc
}

type stolen struct {
	adapters.Claim

	ctx context.Context
}

func (c stolen) Context() context.Context { return c.ctx }
func (c stolen) Unwrap() adapters.Claim   { return c.Claim }

func (s *thief) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	return s.Subscriber.(adapters.Claims).Claim(ctx, topics, func(c adapters.Claim) {
		ctx, cancel := context.WithCancelCause(c.Context())
		defer cancel(nil)
		s.mu.Lock()
		s.lose[c.Topic()] = cancel
		s.mu.Unlock()
		own(stolen{c, ctx})
	})
}

// steal has the claim of a topic lost.
func (s *thief) steal(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose[topic](adapters.ErrLost)
}

// together gives messages to two topics that are then in one transaction: those of step a are read and
// held, and while they are to be computed the others wait for them.
func (v *vault) together(ofA, others []string) {
	v.T.Helper()
	v.wait(0) // for the read that is under way
	if err := v.h.Pause("a"); err != nil {
		v.T.Fatal(err)
	}
	v.give("arrivals", "", ofA...)
	v.wait(0)
	v.give("sorted", "", others...)
	v.wait(0)
	if err := v.h.Resume("a"); err != nil {
		v.T.Fatal(err)
	}
}

// With a claim that is lost a transaction comes to nothing: what was of it is given back, and the others
// are committed without it.
func TestExactlyOnceALostClaim(t *testing.T) {
	for _, early := range []bool{true, false} { // the claim knows before the transaction fails, or a second later
		t.Run(fmt.Sprint("early ", early), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lostClaim(t, early) })
		})
	}
}

func lostClaim(t *testing.T, early bool) {
	t.Helper()
	s := &thief{lose: map[string]context.CancelCauseFunc{}}
	v := &vault{T: t, bank: &bank{}, Sub: func(sub message.Subscriber) message.Subscriber {
		s.Subscriber = sub
		return s
	}}
	gone := false
	v.fail = func(_ int, finished []adapters.Finished, _ []*adapters.Outgoing) error {
		for _, f := range finished {
			if f.Claim.Topic() == "sorted" {
				if !gone {
					gone = true
					if early {
						s.steal("sorted")
					} else {
						time.AfterFunc(time.Second, func() { s.steal("sorted") })
					}
				}
				return fmt.Errorf("fenced off: %w", adapters.ErrLost)
			}
		}
		return nil
	}
	c := &caller{}
	v.run(quick(), flow.Step("a", arrivals, c.block()), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("others"))))
	v.together([]string{"p1", "p2"}, []string{"s1", "s2"})
	v.wait(500 * time.Millisecond)
	equal(t, "of the claim that is kept", v.parcels("stickers"), []string{"p1", "p2"})
	v.wait(10 * time.Second)
	if got := v.parcels("others"); len(got) != 0 {
		t.Errorf("of the claim that is lost: %v", got)
	}
	v.give("arrivals", "", "p3")
	v.wait(time.Second)
	equal(t, "afterwards", v.parcels("stickers"), []string{"p1", "p2", "p3"})
	if v.left("arrivals") != 0 || v.left("sorted") != 2 {
		t.Errorf("left are %d and %d, want 0 and 2", v.left("arrivals"), v.left("sorted"))
	}
	v.is("a", "received=3 sent=3")
	v.is("b", "received=0 returned=2")
	// Whoever has the claim now does the work.
	v.stop()
	other := &vault{T: t, Broker: v.Broker}
	other.run(quick(), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("others"))))
	other.wait(time.Minute)
	equal(t, "by the next owner", other.parcels("others"), []string{"s1", "s2"})
	other.stop()
}

// After an ErrLost of which no claim knows each is committed by itself, though feeds go on without a pause. Breaks if a feed that is
// there already comes first: one always is.
func TestExactlyOnceFeedsStarveNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{took: 10 * time.Millisecond}, Broker: &memory.Broker{Bound: 1 << 20}}
		defer v.Broker.Close()
		lost := false
		v.fail = func(_ int, finished []adapters.Finished, outs []*adapters.Outgoing) error {
			if !lost && len(finished) > 0 && len(outs) > 1 {
				lost = true
				return fmt.Errorf("once: %w", adapters.ErrLost)
			}
			return nil
		}
		fed := channel.Topic[parcel]("fed")
		v.run(quick(), flow.Direct(fed), flow.Step("a", arrivals, (&caller{}).block()), flow.Step("f", fed, forwarder()))
		feed := must(flow.Into(v.h, fed))(t)
		ctx, cancel := context.WithCancel(t.Context())
		var feeds sync.WaitGroup
		for g := range 4 {
			feeds.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					_ = feed(ctx, fmt.Sprint("x", g, "-", i), parcel{})
					time.Sleep(time.Duration(g) * time.Millisecond)
				}
			})
		}
		v.wait(time.Second)
		v.give("arrivals", "", numbered(1, 3)...)
		time.Sleep(10 * time.Second)
		if n := v.left("arrivals"); n > 0 || !lost {
			t.Errorf("%d are left, and that a claim was lost was said: %v", n, lost)
		}
		was := v.h.Counts()["f"].Sent
		time.Sleep(time.Second)
		if v.h.Counts()["f"].Sent == was {
			t.Error("no feed goes on")
		}
		cancel()
		feeds.Wait()
		v.stop()
	})
}

// A transaction is not given up for one claim that is lost while it is under way: it may have been
// committed, and then what it has of the other claims must not be done again. When all are lost it is.
func TestExactlyOnceATransactionIsGivenUpForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &thief{lose: map[string]context.CancelCauseFunc{}}
		v := &vault{T: t, bank: &bank{took: time.Minute}, Sub: func(sub message.Subscriber) message.Subscriber {
			s.Subscriber = sub
			return s
		}}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("others"))))
		v.together([]string{"p1"}, []string{"s1"})
		v.wait(10 * time.Second)
		s.steal("sorted")
		v.wait(2 * time.Minute)
		equal(t, "of the claim that is kept", v.parcels("stickers"), []string{"p1"})
		if n := v.calls; n != 1 {
			t.Errorf("%d transactions, want the one: %v", n, v.bookings())
		}
		v.give("arrivals", "", "p2")
		v.wait(10 * time.Second)
		began := time.Now()
		s.steal("arrivals")
		inTime(t, "Stop", v.stop)
		if d := time.Since(began); d != 0 {
			t.Errorf("with every claim lost it took %v", d)
		}
		equal(t, "in the end", v.parcels("stickers"), []string{"p1"})
	})
}

// A publisher that was replaced ends the flow, with an error that says so; nothing is finished.
func TestExactlyOnceFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(call int, _ []adapters.Finished, _ []*adapters.Outgoing) error {
			if call > 1 {
				return fmt.Errorf("id x: %w", adapters.ErrFenced)
			}
			return nil
		}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		feed := must(flow.Into(v.h, arrivals))(t)
		v.give("arrivals", "", "p1")
		v.wait(time.Second)
		v.give("arrivals", "", numbered(2, 5)...)
		inTime(t, "the flow", func() { <-v.h.Done() })
		if err := v.h.Err(); !errors.Is(err, adapters.ErrFenced) || !errors.Is(err, flow.ErrFlow) {
			t.Errorf("the flow ended with %v", err)
		}
		equal(t, "sent", v.parcels("stickers"), []string{"p1"})
		if n := v.left("arrivals"); n != 4 {
			t.Errorf("%d are left, want 4", n)
		}
		if v.calls != 2 {
			t.Errorf("%d transactions, want 2: none after the one that says so", v.calls)
		}
		if err := feed(t.Context(), "p9", parcel{}); !errors.Is(err, channel.ErrStopped) {
			t.Errorf("a feed afterwards gives %v", err)
		}
		if c := v.h.Counts()["a"]; c.Received != 1 || c.Sent != 1 || c.Returned == 0 {
			t.Errorf("step a: %v", c)
		}
	})
}

// Stop commits what is computed up to the first message that waits, and gives back the rest.
func TestExactlyOnceStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{fail: func(id string, _ int) error {
			if id == "p3" {
				return errFlaky
			}
			return nil
		}}
		v := &vault{T: t, bank: &bank{took: 100 * time.Millisecond}}
		v.run(flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead}, flow.Workers(4), flow.Step("a", arrivals, c.block()))
		v.give("arrivals", "", numbered(1, 10)...)
		v.wait(50 * time.Millisecond) // the first transaction is under way
		began := time.Now()
		v.stop()
		if d := time.Since(began); d > 200*time.Millisecond {
			t.Errorf("Stop took %v", d)
		}
		equal(t, "sent", v.parcels("stickers"), []string{"p1", "p2"})
		if n := v.left("arrivals"); n != 8 {
			t.Errorf("%d are left, want 8", n)
		}
		v.is("a", "received=2 sent=2 retries=1 returned=8")
		next := &vault{T: t, Broker: v.Broker}
		next.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		next.wait(time.Minute)
		equal(t, "after the next run", next.parcels("stickers"), numbered(1, 10))
		next.stop()
	})
}

// Stop does not wait for a broker that is down: what cannot be committed is given back.
func TestExactlyOnceStopWhileTheBrokerIsDown(t *testing.T) {
	for _, hangs := range []bool{true, false} {
		t.Run(fmt.Sprint("hangs ", hangs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{T: t, bank: &bank{}, Broker: &memory.Broker{DrainTimeout: 5 * time.Second}}
				defer v.Broker.Close()
				limit := time.Duration(0)
				if hangs {
					v.took, limit = time.Hour, 5*time.Second
				} else {
					v.fail = func(int, []adapters.Finished, []*adapters.Outgoing) error { return errWire }
				}
				v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
				v.give("arrivals", "", numbered(1, 5)...)
				v.wait(10 * time.Second)
				began := time.Now()
				inTime(t, "Stop", v.stop)
				if d := time.Since(began); d > limit {
					t.Errorf("Stop took %v, want %v at most", d, limit)
				}
				if got := v.on("stickers"); len(got) != 0 || v.left("arrivals") != 5 {
					t.Errorf("sent %v, left %d", got, v.left("arrivals"))
				}
				v.is("a", "received=0 returned=5")
			})
		})
	}
}

// Drain waits for retries and for the commit of what comes behind them, until its context ends.
func TestExactlyOnceDrain(t *testing.T) {
	for _, down := range []bool{false, true} {
		t.Run(fmt.Sprint("down ", down), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{T: t, bank: &bank{}, Broker: &memory.Broker{DrainTimeout: 2 * time.Hour}}
				defer v.Broker.Close()
				v.fail = func(call int, _ []adapters.Finished, _ []*adapters.Outgoing) error {
					if down || call < 4 {
						return errWire
					}
					return nil
				}
				c := &caller{fail: func(id string, attempt int) error {
					if id == "p2" && attempt < 3 {
						return errFlaky
					}
					return nil
				}}
				v.run(flow.Policy{Backoff: flow.Fixed(time.Minute), DeadLetter: dead}, flow.Step("a", arrivals, c.block()))
				v.give("arrivals", "", numbered(1, 5)...)
				v.wait(10 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				err := v.h.Drain(ctx)
				if down {
					if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "5 at step a") || v.left("arrivals") != 5 {
						t.Errorf("Drain gives %v, left are %d", err, v.left("arrivals"))
					}
					return
				}
				if err != nil {
					t.Error(err)
				}
				equal(t, "sent", v.parcels("stickers"), numbered(1, 5))
				v.is("a", "received=5 sent=5 retries=2")
			})
		})
	}
}

// A paused flow takes nothing; what it has taken is committed.
func TestExactlyOncePauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := (&vault{T: t, bank: &bank{took: time.Second}}).run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		v.give("arrivals", "", "p1")
		v.wait(0)
		if err := v.h.Pause("a"); err != nil {
			t.Fatal(err)
		}
		v.give("arrivals", "", "p2", "p3") // one read is under way, and holds what it gets
		v.wait(time.Hour)
		equal(t, "paused", v.parcels("stickers"), []string{"p1"})
		if err := v.h.Resume("a"); err != nil {
			t.Fatal(err)
		}
		v.wait(time.Hour)
		equal(t, "resumed", v.parcels("stickers"), numbered(1, 3))
		if err := v.h.Pause("a"); err != nil {
			t.Fatal(err)
		}
		v.give("arrivals", "", "p4")
		v.wait(time.Hour)
		v.stop()
		if n := v.left("arrivals"); n != 1 {
			t.Errorf("%d are left of what was read while paused, want 1", n)
		}
	})
}

// Two flows on one broker, one of them behind the other, and two groups on one topic: each sees every
// message, once.
func TestExactlyOnceTwoFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{}
		defer b.Close()
		first := &vault{T: t, Broker: b, Name: "first"}
		first.run(quick(), flow.Step("a", arrivals, forwarder()), flow.Step("other", arrivals, translator.Map(stick, channel.Topic[sticker]("own")), flow.Group("own")))
		second := &vault{T: t, Broker: b, Name: "second"}
		second.run(quick(), flow.Step("b", sorted, translator.Map(stick, stickers)))
		third := &vault{T: t, Broker: b, Name: "third"}
		third.run(quick(), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("third"))))
		ids := numbered(1, 500)
		first.give("arrivals", "", ids...)
		first.wait(time.Minute)
		equal(t, "second", second.parcels("stickers"), ids)
		equal(t, "third", third.parcels("third"), ids)
		equal(t, "group of its own", first.parcels("own"), ids)
		for _, v := range []*vault{first, second, third} {
			v.stop()
		}
	})
}

// forwarder sends parcels on to sorted.
func forwarder() block[parcel] {
	return block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		return channel.Send(channel.To(sorted, m.Body)), nil
	}, channel.Shape{Pattern: "Forwarder", Outlets: []channel.Outlet{channel.Out("", sorted)}}}
}

// What several steps see is finished after all of them.
func TestExactlyOnceSeveralStepsOnATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{fail: func(id string, attempt int) error {
			switch {
			case id == "p2" && attempt < 3:
				return errFlaky
			case id == "p4":
				return channel.Permanent(errFlaky)
			}
			return nil
		}}
		drops := block[parcel]{func(channel.Message[parcel]) (channel.Result, error) { return channel.Drop("not for us"), nil }, channel.Shape{}}
		v := (&vault{T: t}).run(quick(), flow.Workers(3), flow.Step("a", arrivals, c.block()),
			flow.Step("b", arrivals, translator.Map(stick, channel.Topic[sticker]("others"))), flow.Step("c", arrivals, drops))
		v.give("arrivals", "", numbered(1, 5)...)
		v.wait(500 * time.Millisecond)
		equal(t, "sent by b, while a waits", v.parcels("others"), []string{"p1"})
		if n := v.left("arrivals"); n != 4 {
			t.Errorf("%d are left, want 4", n)
		}
		v.wait(time.Minute)
		equal(t, "sent by a", v.parcels("stickers"), []string{"p1", "p2", "p3", "p5"})
		equal(t, "sent by b", v.parcels("others"), numbered(1, 5))
		v.is("a", "received=5 sent=4 dead=1 retries=2")
		v.is("b", "received=5 sent=5")
		v.is("c", "received=5 dropped(not for us)=5")
		if n := v.left("arrivals"); n != 0 {
			t.Errorf("%d are left", n)
		}
		// One of a record's works is given back: all of it comes again, and nothing of it went out.
		c.fail = func(string, int) error { return errFlaky }
		v.give("arrivals", "", "p6", "p7")
		v.wait(0)
		v.stop()
		equal(t, "sent by b", v.parcels("others"), numbered(1, 5))
		if n := v.left("arrivals"); n != 2 {
			t.Errorf("%d are left, want 2", n)
		}
		for name, n := range map[string]int64{"a": 2, "b": 2, "c": 2} {
			if got := v.h.Counts()[name].Returned; got != n {
				t.Errorf("step %s gave back %d, want %d", name, got, n)
			}
		}
	})
}

// Two steps one behind the other, over a topic that holds less than a transaction has: the second makes
// the room that the first waits for, though there is one transaction at a time.
func TestExactlyOnceOverFullTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{Bound: 3}
		v := &vault{T: t, Broker: b}
		defer b.Close()
		v.run(quick(), flow.Step("a", arrivals, forwarder()), flow.Step("b", sorted, block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
			return channel.Done(), nil
		}, channel.Shape{}}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			v.give("arrivals", "", numbered(1, 500)...)
		}()
		inTime(t, "500 messages", func() { <-done })
		v.wait(time.Minute)
		v.is("a", "received=500 sent=500")
		v.is("b", "received=500 done=500")
	})
}

// What goes in circles and finds its own topic full dies, as without transactions; else it makes the room
// that it needs itself.
func TestExactlyOnceInCircles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{Bound: 2}
		v := &vault{T: t, Broker: b}
		defer b.Close()
		split := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			p := m.Body
			if p.N++; p.N > 3 {
				return channel.Done(), nil
			}
			return channel.Send(channel.To(arrivals, p)), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", arrivals)}}}
		v.run(quick(), flow.Step("a", arrivals, split))
		v.give("arrivals", "", numbered(1, 2)...)
		v.wait(time.Minute)
		if got := v.h.Counts()["a"]; got.Done != 2 || got.Sent != 6 || got.Dead != 0 {
			t.Errorf("round and round: %v", got)
		}
		v.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		b := &memory.Broker{Bound: 2, Window: 1}
		v := &vault{T: t, Broker: b}
		defer b.Close()
		twice := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.To(arrivals, m.Body), channel.To(arrivals, m.Body)), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", arrivals)}}}
		v.run(quick(), flow.MaxHops(8), flow.Step("a", arrivals, twice))
		v.give("arrivals", "", "p1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		inTime(t, "the circle", func() {
			for v.left("arrivals") > 0 && ctx.Err() == nil {
				v.wait(time.Second)
				drainTopic(t, b, "dead")
			}
		})
		if c := v.h.Counts()["a"]; v.left("arrivals") != 0 || c.Dead == 0 {
			t.Errorf("it never ends: %v", c)
		}
		v.stop()
	})
}

// drainTopic has a topic read by somebody.
func drainTopic(t *testing.T, b *memory.Broker, topic string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		over <- b.Subscriber("undertaker").Claim(ctx, []string{topic}, func(c adapters.Claim) {
			for {
				rs, err := c.Next(make([]*adapters.Record, 0, 100))
				c.Finish(rs)
				if err != nil {
					return
				}
			}
		})
	}()
	synctest.Wait()
	cancel()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
}

// One message waits for nobody. While a transaction is under way the next fills: a slow broker has few
// and large ones.
func TestExactlyOnceCommitsInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{took: 10 * time.Millisecond}, Broker: &memory.Broker{Window: 100_000, Bound: 100_000}}
		defer v.Broker.Close()
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		began := time.Now()
		v.give("arrivals", "", "p1")
		for len(v.bookings()) == 0 {
			v.wait(time.Millisecond)
		}
		if d := time.Since(began); d != 10*time.Millisecond {
			t.Errorf("one message took %v, which is not the commit alone", d)
		}
		began = time.Now()
		v.give("arrivals", "", numbered(2, 20_001)...)
		for v.h.Counts()["a"].Sent < 20_001 {
			v.wait(time.Millisecond)
		}
		if n, d := len(v.bookings()), time.Since(began); n > 10 || d > 100*time.Millisecond {
			t.Errorf("20,000 messages took %d transactions and %v", n, d)
		}
		for _, b := range v.bookings() {
			if n := len(b.finished) + len(b.outs); n > 33_000 {
				t.Errorf("a transaction of %d messages", n)
			}
		}
		equal(t, "sent", v.parcels("stickers"), numbered(1, 20_001))
		v.stop()
	})
}

// Transactions are bounded by bytes, too.
func TestExactlyOnceBoundsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{took: time.Millisecond}}
		most := 0
		v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) error {
			n := 0
			for _, o := range outs {
				n += len(o.Payload)
			}
			most = max(most, n)
			return nil
		}
		big := block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.To(stickers, sticker{Parcel: strings.Repeat("x", 500_000)})), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", stickers)}}}
		v.run(quick(), flow.Step("a", arrivals, big))
		v.give("arrivals", "", numbered(1, 100)...)
		v.wait(time.Minute)
		v.is("a", "received=100 sent=100")
		if most > 17<<20 || most < 10<<20 {
			t.Errorf("the largest transaction has %d bytes", most)
		}
	})
}

// A broker that cannot commit in time what is ready commits less of it at once, whether nobody is to blame or who was not
// answered. Breaks if the same is tried again for ever.
func TestExactlyOnceCommitsLessThatIsTooMuch(t *testing.T) {
	for _, blame := range []bool{false, true} {
		t.Run(fmt.Sprint("blame ", blame), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const inTime = 100
				v := &vault{T: t, bank: &bank{}, Broker: &memory.Broker{Window: 100_000, Bound: 100_000}}
				defer v.Broker.Close()
				most := 0
				v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) error {
					if len(outs) <= inTime {
						most = max(most, len(outs))
						return nil
					}
					time.Sleep(time.Second)
					if blame {
						for _, o := range outs[inTime:] {
							o.Err = errWire
						}
					}
					return errWire
				}
				v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("others"))))
				v.give("arrivals", "", numbered(1, 1000)...)
				v.give("sorted", "", numbered(1, 1000)...)
				for began := time.Now(); v.left("arrivals")+v.left("sorted") > 0 && time.Since(began) < 5*time.Minute; {
					v.wait(time.Second)
				}
				equal(t, "sent by a", v.parcels("stickers"), numbered(1, 1000))
				equal(t, "sent by b", v.parcels("others"), numbered(1, 1000))
				if most < inTime/4 {
					t.Errorf("the largest that was committed is of %d", most)
				}
				v.fail = nil
				v.give("arrivals", "", numbered(1001, 3000)...)
				v.wait(10 * time.Second)
				if calls := v.calls; v.left("arrivals") > 0 {
					t.Errorf("%d are left after %d transactions", v.left("arrivals"), calls)
				}
				v.stop()
			})
		})
	}
}

// Settles run after the commit, with nil; one that fails is not repeated, nor is what is committed.
func TestExactlyOnceSettlesAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		v := &vault{T: t, bank: &bank{}}
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			id := m.Body.ID
			return channel.Send(channel.To(stickers, sticker{Parcel: id})).Settle(func(_ context.Context, err error) error {
				told = append(told, fmt.Sprint(id, " ", err, " ", len(v.bookings())))
				return errFlaky
			}), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", stickers)}}}
		v.fail = func(call int, _ []adapters.Finished, _ []*adapters.Outgoing) error {
			if call == 1 {
				return errWire
			}
			return nil
		}
		v.run(quick(), flow.Step("a", arrivals, b))
		v.give("arrivals", "", "p1")
		v.wait(time.Hour)
		equal(t, "settled", told, []string{"p1 <nil> 1"})
		equal(t, "sent", v.parcels("stickers"), []string{"p1"})
		v.is("a", "received=1 sent=1")
		// What is given back is settled with the reason.
		v.fail = func(int, []adapters.Finished, []*adapters.Outgoing) error { return errWire }
		v.give("arrivals", "", "p2")
		v.wait(time.Second)
		v.stop()
		if len(told) != 2 || !strings.HasPrefix(told[1], "p2 ") || !strings.Contains(told[1], errWire.Error()) {
			t.Errorf("told %v", told)
		}
	})
}

// A Transact that panics has failed.
func TestExactlyOnceAPanicInTheTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(call int, _ []adapters.Finished, _ []*adapters.Outgoing) error {
			if call < 3 {
				panic("wire")
			}
			return nil
		}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		v.give("arrivals", "", numbered(1, 3)...)
		v.wait(time.Minute)
		equal(t, "sent", v.parcels("stickers"), numbered(1, 3))
	})
}

// One topic that is down holds up what goes there, and nothing else.
func TestExactlyOnceOneTopicIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, bank: &bank{}}
		var up atomic.Bool
		v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) (err error) {
			for _, o := range outs {
				if o.Topic == "others" && !up.Load() {
					o.Err = errWire
					err = errWire
				}
			}
			return err
		}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("others"))))
		for i := range 20 {
			v.give("arrivals", "", fmt.Sprint("p", i+1))
			v.give("sorted", "", fmt.Sprint("s", i+1))
			v.wait(100 * time.Millisecond)
		}
		equal(t, "while the other topic is down", v.parcels("stickers"), numbered(1, 20))
		up.Store(true)
		v.wait(time.Minute)
		var want []string
		for _, id := range numbered(1, 20) {
			want = append(want, strings.Replace(id, "p", "s", 1))
		}
		equal(t, "when it is up again", v.parcels("others"), want)
		if slices.ContainsFunc(v.bookings(), func(b booking) bool { return len(b.finished) != len(b.outs) }) {
			t.Error("a transaction finishes other messages than it sends for")
		}
	})
}

// What goes to a topic that is down is in a transaction that takes long to fail. It waits as long before it is tried again, and
// as long the others are committed. Breaks if most of the time goes to the tries.
func TestExactlyOnceATopicThatIsDownTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 10 * time.Second
		tries := 0
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(_ int, _ []adapters.Finished, outs []*adapters.Outgoing) (err error) {
			for _, o := range outs {
				if o.Topic == "others" {
					o.Err, err = errWire, errWire
				}
			}
			if err != nil {
				tries++
				time.Sleep(takes)
			}
			return err
		}
		v.run(quick(), flow.Step("a", arrivals, (&caller{}).block()), flow.Step("b", sorted, translator.Map(stick, channel.Topic[sticker]("others"))))
		v.give("sorted", "", "s1")
		for i := range 20 {
			v.give("arrivals", "", fmt.Sprint("p", i+1))
			v.wait(2 * takes)
		}
		equal(t, "while the other topic is down", v.parcels("stickers"), numbered(1, 20))
		if tries > 25 { // half of the time, and with no pause 40
			t.Errorf("%d tries of %v in %v", tries, takes, 40*takes)
		}
		v.stop()
	})
}

// An outage is one line a minute, however many messages and commits meet it.
func TestExactlyOnceAnOutageIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := &book{}
		v := &vault{T: t, bank: &bank{}}
		v.fail = func(int, []adapters.Finished, []*adapters.Outgoing) error { return errWire }
		v.run(quick(), flow.Tracing(tracing.Config{Off: true}), flow.Logger(slog.New(slog.NewTextHandler(said, nil))), flow.Step("a", arrivals, (&caller{}).block()))
		v.give("arrivals", "", numbered(1, 100)...)
		v.wait(150 * time.Second)
		lines := said.lines()
		if len(lines) != 3 || !strings.Contains(lines[0], "transaction failed") || !strings.Contains(lines[0], errWire.Error()) || !strings.Contains(lines[1], tracing.LogMore) {
			t.Errorf("two and a half minutes of an outage are\n%s", strings.Join(lines, "\n"))
		}
	})
}

// A feed whose message finds a topic full that the flow itself has to empty waits for that, and dies of it
// as little as any other.
func TestExactlyOnceAFeedOntoAFullTopicOfTheFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{T: t, Broker: &memory.Broker{Bound: 1}}
		defer v.Broker.Close()
		var up atomic.Bool
		c := &caller{fail: func(string, int) error {
			if !up.Load() {
				return channel.Later(errFlaky, time.Second)
			}
			return nil
		}}
		v.run(quick(), flow.Direct(channel.Topic[parcel]("fed")), flow.Step("a", channel.Topic[parcel]("fed"), forwarder()), flow.Step("b", sorted, c.block()))
		v.give("sorted", "", "s1")
		feed := must(flow.Into(v.h, channel.Topic[parcel]("fed")))(t)
		over := make(chan error, 1)
		go func() { over <- feed(context.Background(), "p1", parcel{ID: "p1"}) }()
		v.wait(10 * time.Second)
		if len(over) != 0 {
			t.Error("the feed does not wait for room")
		}
		up.Store(true)
		if err := <-over; err != nil {
			t.Error(err)
		}
		drainTopic(t, v.Broker, "stickers")
		v.wait(10 * time.Second)
		v.is("a", "received=1 sent=1")
		v.stop()
	})
}

// A feed that waits for its turn ends with its caller, whatever the transaction before it does.
func TestExactlyOnceAFeedBehindATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := (&vault{T: t, bank: &bank{took: time.Hour}}).run(quick(), flow.Step("a", arrivals, (&caller{}).block()))
		feed := must(flow.Into(v.h, arrivals))(t)
		v.give("arrivals", "", "p1")
		v.wait(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := feed(ctx, "p2", parcel{ID: "p2"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("the feed ends with %v after %v", err, time.Since(began))
		}
		v.wait(2 * time.Hour)
		equal(t, "sent", v.parcels("stickers"), []string{"p1"})
	})
}

// A mortal is a Subscriber whose records have contexts of their own, which end a second after they are read.
type mortal struct{ message.Subscriber }

type mortalClaim struct{ adapters.Claim }

func (s mortal) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	return s.Subscriber.(adapters.Claims).Claim(ctx, topics, func(c adapters.Claim) { own(mortalClaim{c}) })
}

func (c mortalClaim) Unwrap() adapters.Claim { return c.Claim }

func (c mortalClaim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	run, err := c.Claim.Next(run)
	for i := range run {
		ctx, cancel := context.WithCancel(c.Context())
		time.AfterFunc(time.Second, cancel)
		run[i].Context = ctx //nolint:fatcontext // One for each record.
	}
	return run, err
}

// A record whose own context ends is not given back: those behind it could not be finished.
func TestExactlyOnceARecordsOwnContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &caller{fail: func(id string, attempt int) error {
			if id == "p2" && attempt < 3 {
				return errFlaky
			}
			return nil
		}}
		v := &vault{T: t, Sub: func(sub message.Subscriber) message.Subscriber { return mortal{sub} }}
		v.run(quick(), flow.Step("a", arrivals, c.block()))
		v.give("arrivals", "", numbered(1, 5)...)
		v.wait(time.Minute)
		equal(t, "sent", v.parcels("stickers"), numbered(1, 5))
		v.is("a", "received=5 sent=5 retries=2")
	})
}
