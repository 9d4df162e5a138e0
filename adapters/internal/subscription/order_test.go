package subscription

import (
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A message is what the record says, and is finished when it is acknowledged and not before.
func TestAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := rec("a.1", "2", "3")
		rs[0].Headers = channel.Fields{{Name: "x", Value: "y"}}
		rs[1].Headers = listed{channel.Metadata{"x": "z"}}
		rs[2].Headers, rs[2].Payload = channel.Metadata{"x": "w", HeaderAttempt: "7"}, nil
		r := deliver(t, Config{SpreadKeyless: true}, claimOf(adapters.KeyOrdered, rs...))
		ms := r.get(t, "a.1", "2", "3")
		for i, want := range []string{"y", "z", "w"} {
			if got := ms[i].Metadata["x"]; got != want {
				t.Errorf("header x of %s is %q, want %q", ms[i].UUID, got, want)
			}
		}
		if m := ms[0]; string(m.Payload) != "body of a.1" || m.Metadata[channel.HeaderKey] != "a" || len(m.Metadata) != 2 {
			t.Errorf("%s is %q with %v", m.UUID, m.Payload, m.Metadata)
		}
		if m := ms[2]; m.Payload != nil || len(m.Metadata) != 1 {
			t.Errorf("the tombstone is %q with %v", m.Payload, m.Metadata)
		}
		r.claim.did(t, "", "")
		ms[1].Ack()
		r.claim.did(t, "2", "")
		if ms[0].Context().Err() != nil || ms[1].Context().Err() == nil {
			t.Error("a message's context does not end with the message")
		}
	})
}

// listed is headers that can be had as fields.
type listed struct{ channel.Metadata }

func (l listed) Fields() (fs channel.Fields) {
	for name, value := range l.Metadata {
		fs = append(fs, channel.Field{Name: name, Value: value})
	}
	return fs
}

// One in flight, in order, whatever the keys, and nothing overtakes what was nacked.
func TestOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deliver(t, Config{Backoff: short, SpreadKeyless: true}, claimOf(adapters.Ordered, rec("a.1", "b.2", "3", "4")...))
		r.next(t, "a.1").Nack()
		pass(short.Cap)
		r.next(t, "a.1").Ack()
		r.next(t, "b.2").Ack()
		r.next(t, "3").Nack()
		pass(short.Cap)
		r.next(t, "3").Ack()
		r.next(t, "4").Ack()
		r.claim.did(t, "a.1 b.2 3 4", "")
	})
}

// One of each key in flight. What was nacked holds up its own lane and no other.
func TestKeyOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deliver(t, Config{}, claimOf(adapters.KeyOrdered, rec("a.1", "a.2", "b.1", "1", "b.2", "2")...))
		ms := r.get(t, "a.1", "b.1", "1")
		ms[0].Nack()
		ms[1].Ack()
		r.next(t, "b.2").Ack()
		r.claim.did(t, "b.1 b.2", "")
		ms[2].Ack()
		r.next(t, "2").Ack()
		r.claim.did(t, "b.1 b.2 1 2", "")
		r.claim.add(rec("b.3")...)
		r.next(t, "b.3").Ack() // in the same instant: a's pause holds it up no more than the clock
		pass(100 * time.Millisecond)
		r.next(t, "a.1").Ack()
		r.next(t, "a.2").Ack()
		r.claim.did(t, "b.1 b.2 1 2 b.3 a.1 a.2", "")
	})
}

// Messages without a key share a lane, which is that of no key; SpreadKeyless gives their order up, and
// leaves that of keys alone.
func TestKeyless(t *testing.T) {
	for spread, want := range map[bool][]string{false: {"1", "a.1"}, true: {"1", "2", "a.1"}} {
		synctest.Test(t, func(t *testing.T) {
			r := deliver(t, Config{Lanes: 2, SpreadKeyless: spread}, claimOf(adapters.KeyOrdered, rec("1", "2", "a.1", "a.2")...))
			for _, m := range r.get(t, want...) {
				m.Nack()
			}
			r.none(t)
		})
	}
	synctest.Test(t, func(t *testing.T) { // one lane for keys, and still none of theirs for the others
		r := deliver(t, Config{Lanes: 1}, claimOf(adapters.KeyOrdered, rec("1", "a.1", "b.1")...))
		r.get(t, "1", "a.1")
	})
}

// While there are lanes for them, no key waits for another, nor for those that were there before. Breaks if a key's hash
// chooses its lane, or if a lane is not free when its keys are through: then about a third of the keys wait.
func TestNoKeyWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes = 64
		r := deliver(t, Config{Lanes: lanes}, claimOf(adapters.KeyOrdered))
		for wave := range 3 {
			var first, second []string
			for i := range lanes {
				first = append(first, fmt.Sprintf("w%dk%d.1", wave, i))
				second = append(second, fmt.Sprintf("w%dk%d.2", wave, i))
			}
			r.claim.add(rec(append(slices.Clone(first), second...)...)...)
			for _, want := range [][]string{first, second} {
				for _, m := range r.get(t, want...) {
					m.Ack()
				}
			}
			synctest.Wait()
		}
	})
}

// As many as there are lanes, in any order. One that pauses takes nobody's place, and waits for one when its pause is over.
func TestUnordered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deliver(t, Config{Lanes: 2}, claimOf(adapters.Unordered, rec("a.1", "a.2", "a.3", "a.4", "5")...))
		r.get(t, "a.1", "a.2")[0].Nack()
		r.next(t, "a.3").Nack()
		r.next(t, "a.4").Ack()
		r.next(t, "5").Ack()
		r.claim.did(t, "a.4 5", "")
		pass(100 * time.Millisecond)
		for _, m := range r.have() { // a.1 or a.3: a.2 is still out
			m.Ack()
		}
		for _, m := range r.have() {
			m.Ack()
		}
		r.claim.add(rec("6", "7", "8")...)
		r.get(t, "6")
		if got := len(r.claim.finished); got != 4 {
			t.Errorf("finished are %v", r.claim.finished)
		}
	})
	synctest.Test(t, func(t *testing.T) { // one after the other, with nothing in flight between them
		r := deliver(t, Config{Lanes: 2}, claimOf(adapters.Unordered, rec("1")...))
		r.next(t, "1").Ack()
		for _, id := range []string{"2", "3"} {
			synctest.Wait()
			r.claim.add(rec(id)...)
			r.next(t, id)
		}
	})
}

// Workers are as many as messages are in flight, not as there are messages, also after pauses.
func TestWorkers(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		synctest.Test(t, func(t *testing.T) {
			const lanes, n = 4, 1000
			before := runtime.NumGoroutine()
			claim := claimOf(order)
			for i := range n {
				claim.records = append(claim.records, rec(strconv.Itoa(i%7)+"."+strconv.Itoa(i))...)
			}
			r := deliver(t, Config{Lanes: lanes, Backoff: short}, claim)
			most := 0
			for done := 0; done < n; {
				for i, m := range r.have() {
					if i == 0 && Again(m.Context()) == 0 {
						m.Nack()
						continue
					}
					m.Ack()
					done++
				}
				most = max(most, runtime.NumGoroutine()-before)
				pass(short.Cap)
			}
			// Deliver, its reader, and workers for what is in flight, and for what pauses in a shared line.
			if most > 2+2*lanes {
				t.Errorf("%v: %d goroutines for %d in flight", order, most, lanes)
			}
		})
	}
}

// The reader takes what the claim's window allows, though nobody reads the messages.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		claim := claimOf(adapters.KeyOrdered, rec("a.1", "a.2", "b.1", "b.2")...)
		claim.window = 2
		r := deliver(t, Config{}, claim)
		r.next(t, "a.1").Ack()
		ms := r.get(t, "a.2", "b.1")
		ms[1].Ack()
		r.next(t, "b.2")
	})
}

// What becomes of messages is seen within two milliseconds though the loop has another to offer and nobody takes it.
func TestNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deliver(t, Config{Backoff: short}, claimOf(adapters.KeyOrdered, rec("a.1", "b.1", "c.1", "d.1")...))
		ms := map[string]*message.Message{}
		for range 3 { // and nobody waits in between
			m := <-r.out
			ms[m.UUID] = m
		}
		ms["b.1"].Ack()
		ms["c.1"].Nack()
		pass(2 * patience)
		r.claim.did(t, "b.1", "")
		ms["a.1"].Ack()
		r.claim.did(t, "b.1 a.1", "")
		pass(short.Cap)
		for _, m := range r.get(t, "d.1", "c.1") {
			m.Ack()
		}
	})
}

// However many are in flight before them, those that are acknowledged are finished, in whatever order, as soon as there is
// nothing to offer.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 8 * misses
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint("k", i, ".1"))
		}
		r := deliver(t, Config{}, claimOf(adapters.KeyOrdered, rec(ids...)...))
		var ms []*message.Message
		for len(ms) < n {
			ms = append(ms, <-r.out)
			if i := len(ms) - 1; i%3 == 0 {
				ms[i].Ack()
			}
		}
		synctest.Wait()
		for i, m := range ms {
			if acked := m.Context().Err() != nil; acked != (i%3 == 0) {
				t.Errorf("%s, number %d: settled is %v", m.UUID, i, acked)
			}
		}
		if got := len(r.claim.finished); got != (n+2)/3 {
			t.Errorf("%d are finished", got)
		}
	})
}

// Those that come again get no more of a slow reader than those that come for the first time. Breaks if each of them
// waits at the channel by itself.
func TestRetriesAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, reads = 40, 1000
		var ids []string
		for i := range keys {
			ids = append(ids, fmt.Sprint("bad", i, ".1"))
		}
		for i := range 2 * reads {
			ids = append(ids, fmt.Sprint("good", i%keys, ".", i))
		}
		r := deliver(t, Config{Backoff: short}, claimOf(adapters.KeyOrdered, rec(ids...)...))
		good := 0
		for range reads {
			m := <-r.out
			pass(10 * time.Millisecond) // which makes all of them due
			if m.UUID[0] == 'b' {
				m.Nack()
				continue
			}
			good++
			m.Ack()
		}
		if good < reads/3 {
			t.Errorf("of %d that were read %d came for the first time", reads, good)
		}
	})
}
