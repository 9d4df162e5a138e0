package faults_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F27: the topic of the dead letters is down for a while, several times. What died waits for it, even
// over a restart, and is not worked on again for that; messages of other keys go on.
func TestF27(t *testing.T) { seeds(t, func(w *world) { f27(w, f27Spoiled{}) }) }

func TestF27CanFail(t *testing.T) {
	t.Run("an error taken for success", func(t *testing.T) {
		canFail(t, notDead, func(w *world) { f27(w, f27Spoiled{lies: true}) })
	})
	t.Run("everything waits for a message that died", func(t *testing.T) {
		canFail(t, slow, func(w *world) { f27(w, f27Spoiled{oneKey: true}) })
	})
	t.Run("the message is tried again, not its letter", func(t *testing.T) {
		canFail(t, again, func(w *world) { f27(w, f27Spoiled{whole: true}) })
	})
}

// f27Spoiled is what f27 does without.
type f27Spoiled struct {
	lies   bool // the publisher says that it has published
	oneKey bool // all messages have one key
	whole  bool // the letter is written by the handler
}

func f27(w *world, without f27Spoiled) {
	var topic outages
	topic.plan(w, 2, 5*time.Second)
	var letters atomic.Int64
	w.dead = func(*message.Message) { letters.Add(1) }
	attempts := 1 + w.rnd.IntN(3)
	restart := w.rnd.IntN(2) == 0
	seen := &idempotency.Memory{}
	start := func() *process {
		p := w.process(func(call, _ string) fault {
			if call == "publish dead" && topic.down() {
				return before
			}
			return none
		})
		p.pub.lies = without.lies
		p.run("shop",
			flow.Step("do", incoming, endpoint.DoMessage(func(m channel.Message[item]) error {
				x := m.Body
				if x.Fault != "poison" {
					w.ledger.effect(x.ID)
					return nil
				}
				if n := p.tried(x.ID); n > attempts {
					w.ledger.wrong(again, "%s is tried %d times", x.ID, n)
				}
				if !without.whole {
					return errFlaky
				}
				letter := message.NewMessage(x.ID, encode(x))
				return channel.Later(p.pub.Publish(string(dead), letter), time.Second)
			}), flow.Around(idempotency.Receiver{Store: seen})),
			flow.Workers(1+w.rnd.IntN(8)),
			flow.Policy{Attempts: attempts, Backoff: flow.Fixed(50 * time.Millisecond), DeadLetter: dead},
		)
		return p
	}
	var ps []*process
	for range 1 + w.rnd.IntN(2) {
		ps = append(ps, start())
	}
	n := 0
	topic.through(w, 250*time.Millisecond, func() {
		n++
		x, key := item{ID: fmt.Sprint("m", n)}, fmt.Sprint("k", n%7)
		if n%10 == 0 {
			x.Fault, key = "poison", fmt.Sprint("poison", n%3)
			w.ledger.dies(x.ID)
		}
		if without.oneKey {
			key = "k"
		}
		w.put1(string(incoming), x.ID, key, encode(x)) // no copies: they would be tried too
		w.ledger.published(x.ID, key)
		pass(100 * time.Millisecond)
		if w.driver == claims && w.broker.Order != adapters.Ordered && x.Fault == "" && !w.ledger.has(x.ID) {
			w.ledger.wrong(slow, "%s waits for a message of another key", x.ID)
		}
		if restart && topic.down() && n%15 == 0 {
			i := w.rnd.IntN(len(ps))
			ps[i].stop()
			ps[i] = start()
		}
	}, func() (int64, bool) {
		at := letters.Load()
		return at, at < int64(n/10)
	})
	pass(10 * time.Minute)
}
