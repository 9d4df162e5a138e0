package subscription

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

var errDown = errors.New("broker is down")

// After the last attempt the record is published as it was, with what happened to it, and is then
// finished.
func TestDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, told := &post{}, 0
		c := letters(p)
		c.Events.DeadLettered = func(adapters.Claim, *adapters.Record) { told++ }
		rs := rec("a.1", "a.2")
		rs[0].Headers = channel.Fields{{Name: "x", Value: "y"}, {Name: "leat-dead-error", Value: "of before"}}
		r := deliver(t, c, claimOf(adapters.KeyOrdered, rs...))
		var first, last time.Time
		for range c.MaxAttempts {
			m := r.next(t, "a.1")
			last = time.Now()
			if first.IsZero() {
				first = last
			}
			m.Metadata["x"] = "changed"
			m.Nack()
			synctest.Wait()
			pass(short.Cap)
		}
		r.claim.did(t, "a.1", "")
		r.next(t, "a.2").Ack()
		all := p.all()
		if len(all) != 1 || told != 1 {
			t.Fatalf("%d dead letters, and %d were told", len(all), told)
		}
		o := all[0]
		if o.Topic != "orders.dead" || o.ID != "a.1" || o.Key != "a" || string(o.Payload) != "body of a.1" || header(&o, "x") != "y" {
			t.Errorf("the dead letter is %q on %s, key %q, %q with %v", o.ID, o.Topic, o.Key, o.Payload, o.Headers)
		}
		for name, want := range map[string]string{
			flow.DeadError: "nacked at delivery 3", flow.DeadClass: "transient", flow.DeadAttempts: "3",
			flow.DeadFirst: first.UTC().Format(time.RFC3339Nano), flow.DeadLast: last.UTC().Format(time.RFC3339Nano),
			flow.DeadTopic: "orders", flow.DeadOrigin: "orders/0/a.1",
		} {
			if got := header(&o, name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if n := len(o.Headers); n != 8 {
			t.Errorf("%d headers: %v", n, o.Headers)
		}
		if o.Context.Err() == nil {
			t.Error("the context of the publish outlives it")
		}
	})
}

// Attempts that the adapter knows of count.
func TestDeadLetterCountsEarlierDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		rs := rec("a.1")
		rs[0].Again = 2
		r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rs...))
		r.next(t, "a.1").Nack()
		r.claim.did(t, "a.1", "")
		if o := p.all()[0]; header(&o, flow.DeadAttempts) != "3" {
			t.Errorf("it says %s attempts", header(&o, flow.DeadAttempts))
		}
	})
}

// While the dead letter cannot be published nothing is acknowledged, the key waits, others do not.
func TestDeadLetterDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 20
		p := &post{fail: func(n int, _ *adapters.Outgoing) error {
			if n <= failures {
				return errDown
			}
			return nil
		}}
		rs := rec("a.1", "a.2", "b.1")
		rs[0].Again = 2
		r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rs...))
		ms := r.get(t, "a.1", "b.1")
		ms[0].Nack()
		ms[1].Ack()
		r.claim.did(t, "b.1", "")
		r.none(t)
		pass(short.Cap * failures / 10) // the pauses are half of failures together, on average
		r.claim.did(t, "b.1", "")
		pass(short.Cap * failures)
		r.claim.did(t, "b.1 a.1", "")
		r.next(t, "a.2")
		if n := len(p.all()); n != failures+1 {
			t.Errorf("published %d times", n)
		}
		if n := r.log.count("cannot be published"); n != 1 || r.log.count("broker is down") != 1 {
			t.Errorf("an outage is %d lines:\n%v", n, r.log)
		}
	})
}

// A result that is to come is waited for, and nothing is finished before it.
func TestDeadLetterSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{hold: make(chan struct{})}
		rs := rec("a.1")
		rs[0].Again = 2
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), keyOf("trace"), "of the record"))
		rs[0].Context = ctx
		r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rs...))
		r.next(t, "a.1").Nack()
		pass(time.Hour)
		r.claim.did(t, "", "")
		cancel() // its deadline is no reason to keep the dead letter back
		o := p.all()[0]
		if o.Context.Err() != nil || o.Context.Value(keyOf("trace")) != "of the record" || o.Context.Value(keyOf("subscription")) == nil {
			t.Errorf("the context of the publish is %v", o.Context.Err())
		}
		close(p.hold)
		r.claim.did(t, "a.1", "")
	})
}

// A dead letter beyond the limits is a notice that cannot fail for its size.
func TestNotice(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	digest := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	for _, c := range []struct {
		name       string
		change     func(r *adapters.Record)
		id, key    string
		size, data string
	}{
		{"payload", func(r *adapters.Record) { r.Payload = []byte(long) }, "a.1", "a", "10000", long},
		{"header", func(r *adapters.Record) { r.Headers = channel.Fields{{Name: "x", Value: long}} }, "a.1", "a", "11", "body of a.1"},
		{"key", func(r *adapters.Record) { r.Key = long }, "a.1", "", "11", "body of a.1"},
		{"id", func(r *adapters.Record) { r.ID, r.Key = long, "" }, long, "", "11", "body of a.1"},
		{"tombstone", func(r *adapters.Record) { r.Payload, r.Headers = nil, channel.Fields{{Name: "x", Value: long}} }, "a.1", "a", "0", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &post{}
			rs := rec("a.1")
			rs[0].Err = channel.ErrTooLarge
			c.change(rs[0])
			r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rs...))
			r.claim.did(t, rs[0].ID, "")
			o := p.all()[0]
			want := c.data[:min(len(c.data), 4<<10)]
			if o.ID != c.id || o.Key != c.key || string(o.Payload) != want || o.Payload == nil {
				t.Errorf("%s: the notice is %q, key %q, %d bytes", c.name, o.ID, o.Key, len(o.Payload))
			}
			if header(&o, flow.DeadSize) != c.size || header(&o, flow.DeadSHA256) != digest(c.data) || header(&o, flow.DeadTopic) != "orders" {
				t.Errorf("%s: the notice has %v", c.name, o.Headers)
			}
			if header(&o, "x") != "<no x>" {
				t.Errorf("%s: the notice has the headers of the message", c.name)
			}
			if r.log.count(long[:200]) > 0 {
				t.Errorf("%s: the log has what came from outside, whole", c.name)
			}
		})
	}
}

// A publisher with narrower limits than ours gets a notice at once, the least one if need be, and any other error is no
// reason to cut anything.
func TestPublisherRefuses(t *testing.T) {
	long := strings.Repeat("0123456789", 600)
	for _, c := range []struct {
		name        string
		takes       int   // bytes
		err         error // of the first letter, whatever it has
		letters, of int   // how many, and how many bytes the last one has
	}{
		{"too large", 5000, nil, 2, 4 << 10},
		{"too large even so", 1000, nil, 3, 0},
		{"refused", 10_000, channel.Permanent(errDown), 2, len(long)},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &post{fail: func(n int, o *adapters.Outgoing) error {
				switch {
				case n == 1 && c.err != nil:
					return c.err
				case len(o.Payload) > c.takes:
					return channel.ErrTooLarge
				}
				return nil
			}}
			rs := rec("a.1")
			rs[0].Payload, rs[0].Again = []byte(long), 2
			r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rs...))
			r.next(t, "a.1").Nack()
			synctest.Wait()
			pass(short.Cap)
			r.claim.did(t, "a.1", "")
			all := p.all()
			last := all[len(all)-1]
			if isNotice := header(&last, flow.DeadSize) == "6000"; len(all) != c.letters || len(last.Payload) != c.of || last.Payload == nil || isNotice == (c.err != nil) {
				t.Errorf("%s: published %d times, the last has %d bytes and %v", c.name, len(all), len(last.Payload), last.Headers)
			}
		})
	}
}

// What is no message is never offered and goes to the dead letter at once, once it can be published.
// What comes behind it, under its key too, does not wait.
func TestUnreadable(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		synctest.Test(t, func(t *testing.T) {
			down := true
			p := &post{}
			p.fail = func(int, *adapters.Outgoing) error {
				if down {
					return errDown
				}
				return nil
			}
			rs := rec("a.1", "a.2", "3", "4")
			rs[0].Err, rs[2].Err = fmt.Errorf("no id:\n%w", channel.ErrDecode), channel.ErrTooLarge
			r := deliver(t, letters(p), claimOf(order, rs...))
			if order == adapters.Ordered {
				r.next(t, "a.2").Ack()
				r.next(t, "4").Ack()
			} else {
				for _, m := range r.get(t, "a.2", "4") {
					m.Ack()
					synctest.Wait()
				}
			}
			r.claim.did(t, "a.2 4", "")
			p.mu.Lock()
			down = false
			p.mu.Unlock()
			pass(short.Cap)
			r.none(t)
			synctest.Wait()
			if n := len(r.claim.finished); n != 4 {
				t.Fatalf("%v: %v are finished", order, r.claim.finished)
			}
			for _, o := range p.all() {
				why := "no id: payload cannot be decoded"
				if o.ID == "3" {
					why = "message is too large"
				}
				if header(&o, flow.DeadError) != why || header(&o, flow.DeadClass) != "permanent" || header(&o, flow.DeadAttempts) != "0" ||
					string(o.Payload) != "body of "+o.ID || header(&o, flow.DeadOrigin) != "orders/0/"+o.ID {
					t.Errorf("the dead letter of %s is %q with %v", o.ID, o.Payload, o.Headers)
				}
			}
		})
	}
}

// The dead letter of what is no message waits for nobody who reads. While it cannot be published and all ends, the
// record is given back as one that nobody has seen.
func TestUnreadableWhileNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{hold: make(chan struct{})}
		claim := claimOf(adapters.KeyOrdered, rec("a.1")...)
		r := deliver(t, letters(p), claim)
		synctest.Wait()
		bad := rec("b.1")
		bad[0].Err = channel.ErrDecode
		claim.add(bad...)
		synctest.Wait()
		if p.ids() != "b.1" {
			t.Errorf("dead letters %q are under way", p.ids())
		}
		r.stop()
		pass(time.Hour)
		r.claim.did(t, "", "a.1 b.1")
		if len(claim.unseen) != 2 {
			t.Errorf("unseen are %v", claim.unseen)
		}
		close(p.hold)
	})
}

// Their dead letters do not wait for each other, within bounds.
func TestUnreadableTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{hold: make(chan struct{})}
		claim := claimOf(adapters.Ordered)
		for range 2 * buriers {
			rs := rec("1")
			rs[0].Err = channel.ErrDecode
			claim.records = append(claim.records, rs...)
		}
		deliver(t, letters(p), claim)
		synctest.Wait()
		if n := len(p.all()); n != buriers {
			t.Errorf("%d dead letters are under way at once", n)
		}
		close(p.hold)
		synctest.Wait()
		if n := len(claim.finished); n != 2*buriers {
			t.Errorf("%d are finished", n)
		}
	})
}

// Without a dead letter what is no message is parked: never offered, never finished, said aloud once.
func TestParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := rec("a.1", "a.2", "3", "4")
		rs[0].Err, rs[2].Err = channel.ErrDecode, channel.ErrDecode
		told := 0
		r := deliver(t, Config{Events: Events{Parked: func(adapters.Claim, *adapters.Record) { told++ }}}, claimOf(adapters.Ordered, rs...))
		r.next(t, "a.2").Ack()
		r.next(t, "4").Ack()
		pass(time.Hour)
		r.claim.did(t, "a.2 4", "")
		if n := r.log.count("level=ERROR"); n != 2 || told != 2 || r.log.count("orders/0/a.1") != 1 || r.log.count("message_id=3") != 1 {
			t.Errorf("%d were told, and it is logged as\n%v", told, r.log)
		}
		if r.log.count("body of") > 0 {
			t.Errorf("payloads are in the log:\n%v", r.log)
		}
		r.stop()
		r.over(t, true)
		r.claim.did(t, "a.2 4", "a.1 3")
	})
}

// The names of the headers are those of flow's dead letters.
func TestDeadHeaders(t *testing.T) {
	for got, want := range map[string]string{
		deadError: flow.DeadError, deadClass: flow.DeadClass, deadAttempts: flow.DeadAttempts, deadFirst: flow.DeadFirst,
		deadLast: flow.DeadLast, deadTopic: flow.DeadTopic, deadOrigin: flow.DeadOrigin,
	} {
		if got != want {
			t.Errorf("%s is %s in package flow", got, want)
		}
	}
}
