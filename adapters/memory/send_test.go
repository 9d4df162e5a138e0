package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// nobody's context is none: an Outgoing needs no context.
var nobody context.Context

func out(ctx context.Context, topic, id, key string) *adapters.Outgoing {
	return &adapters.Outgoing{Context: ctx, Topic: topic, ID: id, Key: key, Payload: []byte(id)}
}

// With room everything is decided before Send returns, whatever the topics.
func TestSend(t *testing.T) {
	b := &memory.Broker{}
	virtual(t, b, func(t *testing.T) {
		done := &outs{}
		large := out(t.Context(), "b", "large", "")
		large.Payload = make([]byte, 1_000_001)
		b.Publisher().Send([]*adapters.Outgoing{
			out(t.Context(), "a", "0", "k"), out(t.Context(), "a", "1", ""), large,
			out(t.Context(), "b", "2", ""), out(nobody, "a", "3", "k"),
		}, done.done)
		same(t, "done", done.ids(), []string{"0", "1", "large", "2", "3"})
		for _, o := range done.all {
			if want := o.ID == "large"; want != errors.Is(o.Err, channel.ErrTooLarge) || !want && o.Err != nil {
				t.Errorf("%s: %v", o.ID, o.Err)
			}
		}
		m := <-subscribe(t, t.Context(), b.Subscriber("group"), "a")
		if k := m.Metadata.Get(channel.HeaderKey); m.UUID != "0" || k != "k" {
			t.Errorf("got %s with key %q, want 0 with key k", m.UUID, k)
		}
		m.Ack()
		b.Publisher().Send(nil, done.done)
		if len(done.all) != 5 {
			t.Errorf("nothing sent, but done was told of %d", len(done.all)-5)
		}
	})
}

// A key is a header to a plain subscriber, and counts as one.
func TestSendKeyTooLarge(t *testing.T) {
	b := &memory.Broker{Limits: channel.Limits{Header: 20}}
	virtual(t, b, func(t *testing.T) {
		done := &outs{}
		b.Publisher().Send([]*adapters.Outgoing{out(nobody, "a", "0", "0123456789012")}, done.done)
		if err := done.all[0].Err; !errors.Is(err, channel.ErrTooLarge) {
			t.Fatalf("got %v, want ErrTooLarge", err)
		}
	})
}

// Without room outs wait in order, and complete one by one as room is made; NoWait fails, also where
// there would be room but for those that wait.
func TestSendFull(t *testing.T) {
	b := &memory.Broker{Bound: 2, Order: adapters.Ordered}
	virtual(t, b, func(t *testing.T) {
		sub := b.Subscriber("group")
		ms := subscribe(t, t.Context(), sub, "topic")
		done := &outs{}
		var all []*adapters.Outgoing
		for i := range 5 {
			all = append(all, out(t.Context(), "topic", fmt.Sprint(i), ""))
		}
		all[3].NoWait = true
		b.Publisher().Send(all, done.done)
		same(t, "decided at once", done.ids(), []string{"0", "1", "3"})
		if err := all[3].Err; !errors.Is(err, adapters.ErrFull) {
			t.Fatalf("NoWait: got %v, want ErrFull", err)
		}
		(<-ms).Ack()
		synctest.Wait()
		same(t, "after one acknowledgement", done.ids(), []string{"0", "1", "3", "2"})
		same(t, "read", drain(ms), []string{"1", "2", "4"})
		same(t, "in the end", done.ids(), []string{"0", "1", "3", "2", "4"})
		for _, o := range done.all {
			if o.Err != nil && o.ID != "3" {
				t.Errorf("%s: %v", o.ID, o.Err)
			}
		}
	})
}

func TestSendContextEnds(t *testing.T) {
	b := &memory.Broker{Bound: 1}
	virtual(t, b, func(t *testing.T) {
		done := &outs{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		all := []*adapters.Outgoing{out(nobody, "topic", "0", ""), out(ctx, "topic", "1", ""), out(t.Context(), "topic", "2", "")}
		b.Publisher().Send(all, done.done)
		time.Sleep(time.Second) // virtual
		synctest.Wait()
		same(t, "decided", done.ids(), []string{"0", "1"})
		if err := all[1].Err; !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, adapters.ErrFull) {
			t.Errorf("got %v, want ErrFull and DeadlineExceeded", err)
		}
		same(t, "read", drain(subscribe(t, t.Context(), b.Subscriber("group"), "topic")), []string{"0", "2"})
		same(t, "in the end", done.ids(), []string{"0", "1", "2"})
	})
}

func TestSendClose(t *testing.T) {
	b := &memory.Broker{Bound: 1}
	virtual(t, b, func(t *testing.T) {
		done := &outs{}
		pub := b.Publisher()
		all := []*adapters.Outgoing{out(nobody, "topic", "0", ""), out(nobody, "topic", "1", ""), out(nobody, "topic", "2", "")}
		pub.Send(all, done.done)
		if err := pub.Close(); err != nil {
			t.Fatal(err)
		}
		pub.Send([]*adapters.Outgoing{out(nobody, "topic", "3", "")}, done.done)
		same(t, "decided", done.ids(), []string{"0", "1", "2", "3"})
		for _, o := range done.all[1:] {
			if !errors.Is(o.Err, adapters.ErrClosed) {
				t.Errorf("%s: got %v, want ErrClosed", o.ID, o.Err)
			}
		}
	})
}

// done may publish, settle and close: no lock is held.
func TestSendDoneMayCallBack(t *testing.T) {
	b := &memory.Broker{Bound: 1}
	virtual(t, b, func(t *testing.T) {
		pub, done := b.Publisher(), &outs{}
		ms := subscribe(t, t.Context(), b.Subscriber("group"), "topic")
		pub.Send([]*adapters.Outgoing{out(nobody, "topic", "0", ""), out(nobody, "topic", "1", "")}, func(decided []*adapters.Outgoing) {
			for _, o := range decided {
				pub.Send([]*adapters.Outgoing{out(nobody, "topic", o.ID+" again", "")}, done.done)
			}
		})
		same(t, "read", drain(ms), []string{"0", "1", "0 again", "1 again"})
		same(t, "decided", done.ids(), []string{"0 again", "1 again"})
	})
}
