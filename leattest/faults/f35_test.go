package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F35: somebody sends other payloads under the ids of messages, before them, after them and at the same
// time. One payload of each id has its effect, once; every other is in the dead letter, as it came.
// None is dropped as a duplicate.
func TestF35(t *testing.T) { seeds(t, func(w *world) { f35(w, false) }) }

func TestF35CanFail(t *testing.T) {
	t.Run("no digests", func(t *testing.T) {
		canFail(t, lost, func(w *world) { f35(w, true) })
	})
}

// blindStore does not compare payloads.
type blindStore struct{ idempotency.Store }

func (s blindStore) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	r.Digest = idempotency.Digest{}
	return s.Store.Begin(ctx, r)
}

const incomingBytes channel.Topic[[]byte] = "incoming"

func f35(w *world, blind bool) {
	w.names = func(m *message.Message) []string { return []string{m.UUID + "|" + string(m.Payload)} }
	effects := map[string]int{} // by id
	act := func(id string, payload []byte, attempt int, fault string) error {
		if fault == "poison" {
			return channel.Permanent(errFlaky)
		}
		if attempt < 3 && w.dice.roll(5, "act", id) == 0 {
			return errFlaky
		}
		time.Sleep(time.Duration(w.dice.roll(5, "act how slowly", id)) * time.Millisecond)
		w.ledger.effect(id + "|" + string(payload))
		w.ledger.mu.Lock()
		defer w.ledger.mu.Unlock()
		effects[id]++
		return nil
	}
	seen := &idempotency.Memory{}
	typed := w.rnd.IntN(2) == 0
	for range 1 + w.rnd.IntN(2) {
		p := w.process(w.rarely(50))
		var s idempotency.Store = seenStore{seen, p}
		if w.rnd.IntN(2) == 0 {
			s = seen // known to live in the process
		}
		if blind {
			s = blindStore{s}
		}
		around := flow.Around(idempotency.Receiver{Store: s})
		step := flow.Step("do", incomingBytes, endpoint.DoMessage(func(m channel.Message[[]byte]) error {
			var x item
			if err := json.Unmarshal(m.Body, &x); err != nil {
				return channel.Permanent(err)
			}
			return act(m.ID(), m.Body, m.Attempt(), x.Fault)
		}), around)
		if typed {
			step = flow.Step("do", incoming, endpoint.DoMessage(func(m channel.Message[item]) error {
				payload, err := m.Payload()
				if err != nil {
					return err
				}
				return act(m.ID(), payload, m.Attempt(), m.Body.Fault)
			}), around)
		}
		p.run("shop", step, flow.Workers(1+w.rnd.IntN(8)),
			flow.Policy{Attempts: 5, Backoff: flow.Fixed(10 * time.Millisecond), DeadLetter: dead})
	}
	poisoned := w.squat()
	pass(10 * time.Minute)
	for id, bad := range poisoned {
		if n := effects[id]; n > 1 || n == 0 && !bad { // a poison may have been at work when the others came
			w.ledger.wrong(duplicate, "%d payloads of %s had an effect", n, id)
		}
	}
}

// squat publishes messages and forged ones under their ids, each up to three times, in random order. It
// says of which ids one payload is poison.
func (w *world) squat() (poisoned map[string]bool) {
	type sent struct {
		id, key string
		payload []byte
	}
	var all []sent
	poisoned = map[string]bool{}
	for i := range 30 {
		id, key := fmt.Sprint("m", i), w.key(6)
		poisoned[id] = false
		payloads := map[string]string{string(encode(item{ID: id})): key}
		for f := range w.rnd.IntN(3) {
			x := item{ID: id, Turns: f + 1} // forged
			if w.rnd.IntN(6) == 0 {
				x.Fault, poisoned[id] = "poison", true
			}
			payloads[string(encode(x))] = []string{key, w.key(6)}[w.rnd.IntN(2)]
		}
		for _, payload := range slices.Sorted(maps.Keys(payloads)) {
			if len(payloads) > 1 {
				w.ledger.mayDie(id + "|" + payload)
			}
			for range 1 + w.rnd.IntN(3) {
				all = append(all, sent{id, payloads[payload], []byte(payload)})
			}
		}
	}
	near := 40 // how far apart those of one id are
	for i := range all {
		j := min(len(all)-1, i+w.rnd.IntN(near))
		all[i], all[j] = all[j], all[i]
	}
	for _, x := range all {
		w.put(string(incoming), x.id, x.key, x.payload)
		w.ledger.published(x.id+"|"+string(x.payload), "")
	}
	return poisoned
}
