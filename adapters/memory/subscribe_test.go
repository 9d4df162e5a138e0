package memory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// A topic keeps what nobody has read. The first group starts at its start, later ones with what some
// group still has to finish; members of one group share.
func TestGroups(t *testing.T) {
	b := &memory.Broker{Order: adapters.Ordered}
	virtual(t, b, func(t *testing.T) {
		pub := b.Publisher()
		publish(t, pub, "topic", msg("0", ""), msg("1", ""))
		first := subscribe(t, t.Context(), b.Subscriber("first"), "topic")
		(<-first).Ack()
		synctest.Wait()
		second := subscribe(t, t.Context(), b.Subscriber("second"), "topic")
		alone := subscribe(t, t.Context(), b.Subscriber(""), "topic")
		other := subscribe(t, t.Context(), b.Subscriber(""), "topic")
		third := subscribe(t, t.Context(), b.Subscriber("first").Group("third"), "topic")
		publish(t, pub, "topic", msg("2", ""))
		for what, ms := range map[string]<-chan *message.Message{"first": first, "second": second, "alone": alone, "other": other, "third": third} {
			same(t, what, drain(ms), []string{"1", "2"})
		}
	})
}

// A group without a name ends with its subscription. What only it had is there for whoever comes next.
func TestGroupWithoutName(t *testing.T) {
	b := &memory.Broker{Order: adapters.Unordered, Bound: 3}
	virtual(t, b, func(t *testing.T) {
		sub := b.Subscriber("")
		ms := subscribe(t, t.Context(), sub, "topic")
		publish(t, b.Publisher(), "topic", msg("0", ""), msg("1", ""), msg("2", ""))
		got := have(ms)
		got[1].Ack()
		got[2].Nack() // it waits alone
		got[0].Nack()
		synctest.Wait()
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		publish(t, b.Publisher(), "topic", msg("3", ""))
		rest := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		same(t, "next", drain(rest), []string{"0", "2", "3"})
		// With another group there it holds nobody up.
		sub = b.Subscriber("")
		subscribe(t, t.Context(), sub, "topic")
		publish(t, b.Publisher(), "topic", msg("4", ""), msg("5", ""), msg("6", ""))
		ids := []string{}
		for range 3 {
			m := <-rest
			m.Ack()
			ids = append(ids, m.UUID)
		}
		slices.Sort(ids)
		same(t, "group", ids, []string{"4", "5", "6"})
		published := make(chan error, 1)
		go func() { published <- b.Publisher().Publish("topic", msg("7", "")) }()
		synctest.Wait()
		if len(published) > 0 {
			t.Fatal("publish did not wait for the group that has read nothing")
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-published; err != nil {
			t.Fatal(err)
		}
		if m := <-rest; m.UUID != "7" || !m.Ack() {
			t.Fatalf("got %s, want 7", m.UUID)
		}
	})
}

func TestOrders(t *testing.T) {
	for order, want := range map[adapters.Order][]string{
		adapters.Ordered:    {"a1"},
		adapters.KeyOrdered: {"a1", "-1", "b1"},
		adapters.Unordered:  {"a1", "a2", "-1", "-2", "b1"},
	} {
		b := &memory.Broker{Order: order}
		virtual(t, b, func(t *testing.T) {
			publish(t, b.Publisher(), "topic", msg("a1", "a"), msg("a2", "a"), msg("-1", ""), msg("-2", ""), msg("b1", "b"))
			ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
			got := have(ms)
			same(t, order.String()+" in flight", ids(got), want)
			got[0].Ack()
			next := append(have(ms), got[1:]...)
			for _, m := range next {
				m.Ack()
			}
			if n := len(got) + len(next) - len(got[1:]) + len(drain(ms)); n != 5 {
				t.Fatalf("%v: %d messages read, want 5", order, n)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	b := &memory.Broker{Order: adapters.Unordered, Window: 3}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		for i := range 10 {
			publish(t, b.Publisher(), "topic", msg(fmt.Sprint(i), ""))
		}
		got := have(ms)
		same(t, "in flight", ids(got), []string{"0", "1", "2"})
		got[1].Ack()
		got = append(got, have(ms)...)
		same(t, "one more", ids(got), []string{"0", "1", "2", "3"})
		for _, m := range got {
			m.Ack()
		}
		same(t, "the rest", drain(ms), []string{"4", "5", "6", "7", "8", "9"})
	})
}

// A nacked message keeps its place, waits longer each time, and holds up only its lane.
func TestNack(t *testing.T) {
	b := &memory.Broker{Backoff: memory.Backoff{Base: time.Second, Cap: 8 * time.Second}}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		publish(t, b.Publisher(), "topic", msg("a1", "a"), msg("a2", "a"), msg("b1", "b"))
		longest := time.Duration(0)
		for n := range 50 {
			var m *message.Message
			start := time.Now()
			for m = range ms {
				if m.UUID != "b1" {
					break
				}
				if n > 1 {
					t.Fatal("b1 waited for a1")
				}
				m.Ack()
			}
			waited := time.Since(start)
			if most := time.Second << max(0, min(3, n-1)); m.UUID != "a1" || waited > most || memory.Again(m.Context()) != n {
				t.Fatalf("delivery %d: %s after %v, again %d: want a1 within %v, again %d", n, m.UUID, waited, memory.Again(m.Context()), most, n)
			}
			longest = max(longest, waited)
			if !m.Nack() {
				t.Fatal("cannot nack")
			}
		}
		if longest < time.Second {
			t.Errorf("the longest pause was %v: there is no backoff", longest)
		}
		for _, want := range []string{"a1", "a2"} {
			if m := <-ms; m.UUID != want || !m.Ack() {
				t.Fatalf("got %s, want %s", m.UUID, want)
			}
		}
	})
}

// In Unordered mode a nacked message holds up nothing at all.
func TestNackUnordered(t *testing.T) {
	b := &memory.Broker{Order: adapters.Unordered, Backoff: memory.Backoff{Base: time.Hour, Cap: time.Hour}}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		publish(t, b.Publisher(), "topic", msg("0", ""))
		(<-ms).Nack()
		publish(t, b.Publisher(), "topic", msg("1", ""), msg("2", ""))
		same(t, "others", drain(ms), []string{"1", "2"})
		if m := <-ms; m.UUID != "0" || !m.Ack() {
			t.Fatalf("got %s, want 0", m.UUID)
		}
	})
}

type valueKey struct{}

func TestMessageContext(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), valueKey{}, "value"))
		ms := subscribe(t, ctx, b.Subscriber("group"), "topic")
		publish(t, b.Publisher(), "topic", msg("0", ""))
		for settle, f := range map[string]func(*message.Message) bool{"nack": (*message.Message).Nack, "ack": (*message.Message).Ack} {
			if settle == "ack" {
				publish(t, b.Publisher(), "topic", msg("1", ""))
			}
			m := <-ms
			child, end := context.WithTimeout(m.Context(), time.Hour)
			defer end()
			if m.Context().Err() != nil || child.Err() != nil || child.Value(valueKey{}) != "value" {
				t.Fatalf("%s: context ended or without its value before it was settled", settle)
			}
			f(m)
			<-child.Done()
			if err := m.Context().Err(); !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: context's error is %v, want Canceled", settle, err)
			}
			if settle == "nack" {
				(<-ms).Ack()
			}
		}
		publish(t, b.Publisher(), "topic", msg("2", ""))
		m := <-ms
		cause := errors.New("over")
		cancel(cause)
		if err := m.Context().Err(); !errors.Is(err, context.Canceled) {
			t.Fatalf("context's error is %v after the subscription's ended, want Canceled", err)
		}
		if got := context.Cause(m.Context()); !errors.Is(got, cause) {
			t.Fatalf("cause is %v, want %v", got, cause)
		}
		m.Ack()
	})
}

// The context of a message nobody waited for tells its end all the same.
func TestMessageContextAskedLate(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		publish(t, b.Publisher(), "topic", msg("0", ""))
		m := <-ms
		m.Ack()
		synctest.Wait()
		if !errors.Is(m.Context().Err(), context.Canceled) || !errors.Is(context.Cause(m.Context()), context.Canceled) {
			t.Fatalf("error %v, cause %v: want Canceled", m.Context().Err(), context.Cause(m.Context()))
		}
		<-m.Context().Done()
	})
}

// Close waits for what is in flight. What is acknowledged meanwhile does not come again.
func TestCloseDrains(t *testing.T) {
	b := &memory.Broker{DrainTimeout: time.Minute}
	virtual(t, b, func(t *testing.T) {
		sub := b.Subscriber("group")
		ms := subscribe(t, t.Context(), sub, "topic")
		publish(t, b.Publisher(), "topic", msg("a1", "a"), msg("a2", "a"), msg("b1", "b"))
		got := have(ms)
		done := make(chan time.Duration, 1)
		start := time.Now()
		go func() {
			_ = sub.Close()
			done <- time.Since(start)
		}()
		time.Sleep(time.Second) // virtual
		if got[0].Context().Err() != nil || len(done) > 0 || closed(ms) {
			t.Fatal("Close did not wait for what is in flight")
		}
		got[0].Ack()
		time.Sleep(time.Second) // virtual
		got[1].Ack()
		if took := <-done; took != 2*time.Second || !closed(ms) {
			t.Fatalf("Close took %v, want 2s, and the channel closed", took)
		}
		if _, err := sub.Subscribe(t.Context(), "topic"); !errors.Is(err, adapters.ErrClosed) {
			t.Fatalf("subscribe after Close: got %v, want ErrClosed", err)
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, "left", drain(subscribe(t, t.Context(), b.Subscriber("group"), "topic")), []string{"a2"})
	})
}

// What is not acknowledged by DrainTimeout is taken away, with a cause, and delivered again.
func TestCloseGivesBack(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		b := &memory.Broker{Order: order}
		virtual(t, b, func(t *testing.T) {
			sub := b.Subscriber("group")
			ms := subscribe(t, t.Context(), sub, "topic")
			publish(t, b.Publisher(), "topic", msg("0", ""), msg("1", ""))
			m := <-ms
			start := time.Now()
			if err := sub.Close(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != 10*time.Second || !closed(ms) {
				t.Fatalf("Close took %v, want the default of 10s, and the channel closed", took)
			}
			if cause := context.Cause(m.Context()); !errors.Is(cause, channel.ErrStopped) || m.Context().Err() == nil {
				t.Fatalf("the message's context has cause %v, want ErrStopped", cause)
			}
			other := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
			again := <-other
			if again.UUID != "0" || memory.Again(again.Context()) != 1 {
				t.Fatalf("got %s, again %d: want 0, again 1", again.UUID, memory.Again(again.Context()))
			}
			again.Ack()
			next := <-other
			if next.UUID != "1" || memory.Again(next.Context()) != 0 {
				t.Fatalf("got %s, again %d: want 1, again 0: it was offered, not delivered", next.UUID, memory.Again(next.Context()))
			}
			next.Ack()
		})
	}
}

// The end of a subscription's context is its Close.
func TestSubscriptionContextEnds(t *testing.T) {
	b := &memory.Broker{DrainTimeout: time.Second}
	virtual(t, b, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		sub := b.Subscriber("group")
		ms := subscribe(t, ctx, sub, "topic")
		stays := subscribe(t, t.Context(), sub, "other")
		publish(t, b.Publisher(), "topic", msg("0", ""), msg("1", ""))
		m := <-ms
		cancel()
		if closed(ms) {
			t.Fatal("closed with a message in flight")
		}
		m.Ack()
		if !closed(ms) {
			t.Fatal("not closed")
		}
		publish(t, b.Publisher(), "other", msg("2", ""))
		same(t, "the other subscription", drain(stays), []string{"2"})
		same(t, "left", drain(subscribe(t, t.Context(), sub, "topic")), []string{"1"})
	})
}

// Members of one group share its lanes; a lane is one member's while it has a message in flight.
func TestTwoMembers(t *testing.T) {
	b := &memory.Broker{DrainTimeout: time.Second}
	virtual(t, b, func(t *testing.T) {
		one, two := b.Subscriber("group"), b.Subscriber("group")
		ms1 := subscribe(t, t.Context(), one, "topic")
		publish(t, b.Publisher(), "topic", msg("a1", "a"), msg("a2", "a"))
		m := <-ms1
		ms2 := subscribe(t, t.Context(), two, "topic")
		if got := have(ms2); m.UUID != "a1" || len(got) > 0 {
			t.Fatalf("one has %s, two has %v: want a1 and nothing", m.UUID, ids(got))
		}
		publish(t, b.Publisher(), "topic", msg("b1", "b")) // goes to the one that has nothing to do
		if got := <-ms2; got.UUID != "b1" || !got.Ack() {
			t.Fatalf("two has %s, want b1", got.UUID)
		}
		// One is killed: its lane is free at once.
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, "two after the kill", drain(ms2), []string{"a1", "a2"})
	})
}

// A subscriber made by Group closes with its parent, and alone.
func TestGroupCloses(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		sub := b.Subscriber("")
		one, two := sub.Group("one"), sub.Group("two")
		ms1, ms2 := subscribe(t, t.Context(), one, "topic"), subscribe(t, t.Context(), two, "topic")
		if err := one.Close(); err != nil {
			t.Fatal(err)
		}
		if !closed(ms1) || closed(ms2) {
			t.Fatal("closing a group's subscriber closes that, and no other")
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := two.Subscribe(t.Context(), "topic"); !closed(ms2) || !errors.Is(err, adapters.ErrClosed) {
			t.Fatalf("after the parent's Close: %v, want ErrClosed and the channel closed", err)
		}
	})
}

func TestBrokerClose(t *testing.T) {
	b := &memory.Broker{DrainTimeout: time.Second}
	virtual(t, b, func(t *testing.T) {
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		publish(t, b.Publisher(), "topic", msg("0", ""))
		m := <-ms
		for range 2 {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !closed(ms) || m.Context().Err() == nil {
			t.Fatal("the subscription goes on")
		}
		for what, err := range map[string]error{
			"initialize": b.Subscriber("group").SubscribeInitialize("topic"),
			"claim":      b.Subscriber("group").Claim(t.Context(), []string{"topic"}, func(adapters.Claim) {}),
		} {
			if !errors.Is(err, adapters.ErrClosed) {
				t.Errorf("%s: got %v, want ErrClosed", what, err)
			}
		}
	})
}
