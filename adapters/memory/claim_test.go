package memory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

func TestClaim(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		m := msg("a1", "a")
		m.Metadata["name"] = "value"
		publish(t, b.Publisher(), "topic", m, msg("-1", ""), msg("a2", "a"))
		c := claim(t, b.Subscriber("group"))
		if c.Topic() != "topic" || c.Order() != adapters.KeyOrdered || c.Context().Err() != nil {
			t.Fatalf("topic %q, order %v, context %v", c.Topic(), c.Order(), c.Context().Err())
		}
		run := append(make([]*adapters.Record, 0, 10), &adapters.Record{ID: "before"})
		run, err := c.Next(run)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "appended", recordIDs(run), []string{"before", "a1", "a2", "-1"})
		r := run[1]
		if r.Key != "a" || string(r.Payload) != "a1" || r.Headers.Get("name") != "value" || r.Again != 0 || fmt.Sprint(r.Native) != "topic/0" {
			t.Fatalf("got %+v", r)
		}
		for name, value := range r.Headers.All() {
			if name != "name" || value != "value" {
				t.Errorf("header %s=%s, want name=value alone: the key is not among them", name, value)
			}
		}
		if _, err := c.Next(run[:1:1]); err == nil {
			t.Error("a run without room is no error")
		}
		c.Finish(run[2:])
		c.Finish(run[2:]) // again: ignored
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
		again := claim(t, b.Subscriber("group"))
		rs := again.next(t, 10)
		if len(rs) != 1 || rs[0].ID != "a1" || rs[0].Again != 1 {
			t.Fatalf("got %+v, want a1 again", rs)
		}
		again.Finish(rs)
		if err := again.leave(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClaimWindow(t *testing.T) {
	b := &memory.Broker{Window: 3}
	virtual(t, b, func(t *testing.T) {
		for i := range 5 {
			publish(t, b.Publisher(), "topic", msg(fmt.Sprint(i), ""))
		}
		c := claim(t, b.Subscriber("group"))
		rs := c.next(t, 10)
		same(t, "a window", recordIDs(rs), []string{"0", "1", "2"})
		more := make(chan []*adapters.Record, 1)
		go func() { more <- c.next(t, 10) }()
		synctest.Wait()
		if len(more) > 0 {
			t.Fatal("Next did not wait while the window was full")
		}
		c.Finish(rs[1:2])
		got := <-more
		same(t, "one more", recordIDs(got), []string{"3"})
		c.Finish(append(got, rs...))
		got = c.next(t, 10)
		same(t, "the rest", recordIDs(got), []string{"4"})
		c.Finish(got)
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
	})
}

// What is returned comes again before what followed it, after a pause, and not while records of its
// lane that came after it are still out.
func TestClaimReturn(t *testing.T) {
	b := &memory.Broker{Order: adapters.Ordered, Backoff: memory.Backoff{Base: time.Second}}
	virtual(t, b, func(t *testing.T) {
		for i := range 6 {
			publish(t, b.Publisher(), "topic", msg(fmt.Sprint(i), ""))
		}
		c := claim(t, b.Subscriber("group"))
		rs := c.next(t, 4)
		c.Return(rs[2:3])
		c.Return(rs[1:2])
		next := make(chan []*adapters.Record, 1)
		go func() { next <- c.next(t, 10) }()
		time.Sleep(time.Minute) // virtual
		synctest.Wait()
		if len(next) > 0 {
			t.Fatalf("got %v while 0 and 3 were out", recordIDs(<-next))
		}
		c.Finish(rs[:1])
		c.Return(rs[3:])
		got := <-next
		same(t, "again, in order", recordIDs(got), []string{"1", "2", "3", "4", "5"})
		if got[0].Again != 1 || got[3].Again != 0 {
			t.Fatalf("Again is %d and %d, want 1 and 0", got[0].Again, got[3].Again)
		}
		c.Finish(rs) // of the delivery before: ignored
		c.Finish(got[1:])
		c.Return(got[:1])
		got = c.next(t, 10)
		if len(got) != 1 || got[0].ID != "1" || got[0].Again != 2 {
			t.Fatalf("got %+v, want 1, again 2", got)
		}
		c.Finish(got)
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
	})
}

// Two members share lanes. What one has of a lane keeps the other from that lane, in Ordered mode from
// the topic; when it leaves, its records are free at once.
func TestClaimTwoMembers(t *testing.T) {
	for _, order := range []adapters.Order{adapters.KeyOrdered, adapters.Ordered} {
		b := &memory.Broker{Order: order, Backoff: memory.Backoff{Base: time.Hour, Cap: time.Hour}}
		virtual(t, b, func(t *testing.T) {
			publish(t, b.Publisher(), "topic", msg("a1", "a"))
			one := claim(t, b.Subscriber("group"))
			rs := one.next(t, 10)
			two := claim(t, b.Subscriber("group"))
			publish(t, b.Publisher(), "topic", msg("a2", "a"), msg("b1", "b"))
			next := make(chan []*adapters.Record, 2)
			get := func() { next <- two.next(t, 10) }
			go get()
			synctest.Wait()
			var want []string
			if order == adapters.KeyOrdered {
				want = []string{"b1"}
				got := <-next
				same(t, "two", recordIDs(got), want)
				two.Finish(got)
				go get()
				synctest.Wait()
			}
			if len(next) > 0 {
				t.Fatalf("two has %v, which is one's", recordIDs(<-next))
			}
			start := time.Now()
			one.stop()
			one.Return(rs)
			if err := one.leave(); err != nil {
				t.Fatal(err)
			}
			got := <-next
			want = []string{"a1", "a2"}
			if order == adapters.Ordered {
				want = append(want, "b1")
			}
			same(t, "two, after one has left", recordIDs(got), want)
			if time.Since(start) > 0 {
				t.Errorf("it took %v", time.Since(start))
			}
			two.Finish(got)
			if err := two.leave(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// When the claim's context ends, or an end is closed, Next ends at once. What is out stays owned until
// own returns, at most DrainTimeout.
func TestClaimDrain(t *testing.T) {
	type stop func(*memory.Broker, *memory.Subscriber, *claiming)
	for name, stop := range map[string]stop{
		"context":    func(_ *memory.Broker, _ *memory.Subscriber, c *claiming) { c.stop() },
		"subscriber": func(_ *memory.Broker, s *memory.Subscriber, _ *claiming) { _ = s.Close() },
		"group's parent": func(_ *memory.Broker, s *memory.Subscriber, _ *claiming) {
			_ = s.Close()
		},
	} {
		for _, late := range []bool{false, true} {
			b := &memory.Broker{DrainTimeout: time.Minute}
			virtual(t, b, func(t *testing.T) {
				publish(t, b.Publisher(), "topic", msg("0", ""), msg("1", ""))
				end := b.Subscriber("")
				sub := end.Group("group").(*memory.Subscriber)
				if name != "group's parent" {
					end = sub
				}
				c := claim(t, sub)
				rs := c.next(t, 10)
				next := make(chan error, 1)
				go func() {
					_, err := c.Next(make([]*adapters.Record, 0, 1))
					next <- err
				}()
				go stop(b, end, c)
				if err := <-next; err == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, adapters.ErrClosed) {
					t.Fatalf("%s: Next gave %v", name, err)
				}
				other := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
				time.Sleep(time.Minute - 1) // virtual
				if got := have(other); len(got) > 0 || c.Context().Err() != nil {
					t.Fatalf("%s: not owned until DrainTimeout: %v", name, ids(got))
				}
				want := []string{"1"}
				if late {
					time.Sleep(time.Nanosecond) // virtual
					synctest.Wait()
					if cause := context.Cause(c.Context()); !errors.Is(cause, channel.ErrStopped) {
						t.Fatalf("%s: cause after DrainTimeout is %v, want ErrStopped", name, cause)
					}
					want = []string{"0", "1"}
				}
				c.Finish(rs[:1]) // late: ignored
				if err := c.leave(); err != nil {
					t.Fatal(err)
				}
				same(t, name, drain(other), want)
			})
		}
	}
}

// An own that closes its subscriber does not wait for itself for ever.
func TestClaimClosesItself(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		sub := b.Subscriber("group")
		if err := sub.Claim(t.Context(), []string{"a", "b"}, func(adapters.Claim) { _ = sub.Close() }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestClaimRefuses(t *testing.T) {
	b := &memory.Broker{}
	own := func(adapters.Claim) { t.Error("own was called") }
	if err := b.Subscriber("group").Claim(t.Context(), nil, own); err == nil {
		t.Error("no topics: no error")
	}
	if err := b.Subscriber("group").Claim(t.Context(), []string{"a", "b", "a"}, own); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a topic twice: got %v, want an error that names it", err)
	}
	sub := b.Subscriber("group")
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sub.Claim(t.Context(), []string{"a", "b"}, own); !errors.Is(err, adapters.ErrClosed) {
		t.Errorf("closed: got %v, want ErrClosed", err)
	}
}

// Without a group a claim sees everything and leaves nothing behind.
func TestClaimWithoutGroup(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		publish(t, b.Publisher(), "topic", msg("0", ""))
		one, two := claim(t, b.Subscriber("")), claim(t, b.Subscriber(""))
		for _, c := range []*claiming{one, two} {
			rs := c.next(t, 10)
			same(t, "each", recordIDs(rs), []string{"0"})
			c.Finish(rs)
			if err := c.leave(); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, b.Publisher(), "topic", msg("1", ""))
		same(t, "after both", drain(subscribe(t, t.Context(), b.Subscriber(""), "topic")), []string{"1"})
	})
}

// A claim's methods may be called by many at once.
func TestClaimConcurrently(t *testing.T) {
	const messages = 1000
	b := &memory.Broker{Order: adapters.Unordered, Window: 50}
	virtual(t, b, func(t *testing.T) {
		for i := range messages {
			publish(t, b.Publisher(), "topic", msg(fmt.Sprint(i), ""))
		}
		c := claim(t, b.Subscriber("group"))
		var mu sync.Mutex
		var got []string
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for {
					rs, err := c.Next(make([]*adapters.Record, 0, 7))
					if err != nil {
						return
					}
					mu.Lock()
					got = append(got, recordIDs(rs)...)
					n := len(got)
					mu.Unlock()
					c.Finish(rs)
					if n == messages {
						c.stop()
					}
				}
			})
		}
		all.Wait()
		slices.Sort(got)
		if got = slices.Compact(got); len(got) != messages {
			t.Fatalf("%d different messages read, want %d", len(got), messages)
		}
		if err := c.leave(); err != nil {
			t.Fatal(err)
		}
	})
}
