package subscription

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A nacked record comes again as a fresh message with the same values, for ever, and says which attempt
// it is; what its reader did to the metadata is gone.
func TestNack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := rec("a.1", "a.2")
		rs[0].Headers = channel.Fields{{Name: "x", Value: "y"}}
		rs[0].Context = context.WithValue(context.Background(), keyOf("trace"), "of the record")
		var again atomic.Int32
		events := Events{Redelivered: func(_ adapters.Claim, r *adapters.Record) {
			if r.ID == "a.1" {
				again.Add(1)
			}
		}}
		r := deliver(t, Config{Backoff: short, Events: events}, claimOf(adapters.KeyOrdered, rs...))
		for n, attempt := range []string{"", "2", "3", "4", "5"} {
			m := r.next(t, "a.1")
			if m.Metadata[HeaderAttempt] != attempt || Again(m.Context()) != n || int(again.Load()) != n {
				t.Fatalf("delivery %d says attempt %q, again %d, and %d were told", n, m.Metadata[HeaderAttempt], Again(m.Context()), again.Load())
			}
			if m.Metadata["x"] != "y" || m.Metadata["mine"] != "" || string(m.Payload) != "body of a.1" {
				t.Fatalf("delivery %d has %v and %q", n, m.Metadata, m.Payload)
			}
			if m.Context().Value(keyOf("trace")) != "of the record" || m.Context().Err() != nil {
				t.Fatalf("delivery %d has another context", n)
			}
			m.Metadata["mine"], m.Metadata["x"] = "yes", "z"
			m.Nack()
			if m.Ack() {
				t.Fatal("a nacked message was acknowledged")
			}
			r.none(t)
			pass(short.Cap)
		}
		r.claim.did(t, "", "")
		r.next(t, "a.1").Ack()
		if m := r.next(t, "a.2"); m.Metadata[HeaderAttempt] != "" || Again(m.Context()) != 0 {
			t.Errorf("the next message says attempt %q", m.Metadata[HeaderAttempt])
		}
		r.claim.did(t, "a.1", "")
	})
}

// Who gives a message back by a nack, since he is about to stop, has not tried it: it comes again after a pause, known to,
// and is not buried for that. Breaks if such nacks count: a router that goes on for a second after its flow has stopped
// would bury what is healthy.
func TestGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rec("a.1")...))
		give := func(tried bool) {
			t.Helper()
			m := r.next(t, "a.1")
			if !tried {
				m.Context().Value(adapters.GiveBackKey{}).(func())()
			}
			m.Nack()
			r.none(t)
			pass(short.Cap)
		}
		for _, tried := range []bool{false, false, false, true, false, true, false} {
			give(tried)
		}
		m := r.next(t, "a.1")
		if Again(m.Context()) != 7 {
			t.Errorf("it was delivered 7 times before, and says %d", Again(m.Context()))
		}
		r.claim.did(t, "", "")
		m.Nack()
		r.claim.did(t, "a.1", "")
		if n := len(p.all()); n != 1 {
			t.Errorf("after a third try %d letters are there", n)
		}
	})
}

// Deliveries that the adapter knows of count.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := rec("a.1")
		rs[0].Again = 4
		told := 0
		r := deliver(t, Config{Events: Events{Redelivered: func(adapters.Claim, *adapters.Record) { told++ }}}, claimOf(adapters.KeyOrdered, rs...))
		if m := r.next(t, "a.1"); m.Metadata[HeaderAttempt] != "5" || Again(m.Context()) != 4 || told != 1 {
			t.Errorf("it says attempt %q, again %d, and %d were told", m.Metadata[HeaderAttempt], Again(m.Context()), told)
		}
	})
}

// The pause after a nack is random between 0 and a bound that doubles up to the cap.
func TestBackoff(t *testing.T) {
	b := Backoff{Base: 10 * time.Millisecond, Cap: 70 * time.Millisecond}
	for n, most := range map[int]time.Duration{
		0: 10 * time.Millisecond, 1: 10 * time.Millisecond, 2: 20 * time.Millisecond, 3: 40 * time.Millisecond,
		4: 70 * time.Millisecond, 5: 70 * time.Millisecond, 64: 70 * time.Millisecond, math.MaxInt: 70 * time.Millisecond,
	} {
		var longest, sum time.Duration
		const tries = 10_000
		for range tries {
			d := b.pause(n)
			if d < 0 {
				t.Fatalf("pause %d is %v", n, d)
			}
			longest, sum = max(longest, d), sum+d
		}
		if mean := sum / tries; longest > most || longest < most*9/10 || mean < most*4/10 || mean > most*6/10 {
			t.Errorf("pause %d is up to %v, %v on average, want up to %v", n, longest, mean, most)
		}
	}
}

// What a lane waited for grows with each nack in a row, and an ack begins anew.
func TestBackoffIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backoff := Backoff{Base: time.Microsecond, Cap: time.Hour}
		r := deliver(t, Config{Backoff: backoff}, claimOf(adapters.KeyOrdered, rec("a.1", "a.2")...))
		const nacks = 40 // the last eight of which wait for up to an hour each: ten minutes in all are one in 10^11
		start := time.Now()
		for range nacks {
			(<-r.out).Nack()
		}
		m := <-r.out
		if took := time.Since(start); took < 10*time.Minute || took > 10*time.Hour {
			t.Errorf("%d nacks took %v", nacks, took)
		}
		m.Ack()
		start = time.Now()
		(<-r.out).Nack()
		<-r.out
		if took := time.Since(start); took > backoff.Base {
			t.Errorf("after an ack the pause is %v", took)
		}
	})
}
