package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// F21: a panic in whatever of the user's the flow calls is an error of its message alone. What panics
// every time is in the dead letter, with the stack; what panics once has its effect once.
func TestF21(t *testing.T) {
	seeds(t, func(w *world) {
		f21(w, w.boomed, flow.Policy{Attempts: 3, Backoff: flow.Fixed(100 * time.Millisecond), DeadLetter: dead})
	})
}

func TestF21CanFail(t *testing.T) {
	t.Run("no dead letter", func(t *testing.T) {
		canFail(t, notDead, func(w *world) {
			w.driver = claims
			f21(w, w.boomed, flow.Policy{Redeliver: true, Backoff: flow.Fixed(time.Minute)})
		})
	})
	t.Run("a handler that recovers and says nothing", func(t *testing.T) {
		canFail(t, lost, func(w *world) {
			mute := func(m channel.Message[item]) error {
				defer func() { _ = recover() }()
				return w.boomed(m)
			}
			f21(w, mute, flow.Policy{Attempts: 3, DeadLetter: dead})
		})
	})
}

const (
	work channel.Topic[item] = "work"
	jobs channel.Topic[item] = "jobs"
)

func f21(w *world, act func(channel.Message[item]) error, policy flow.Policy) {
	w.dead = w.checkLetter
	policy.Rules = []flow.Rule{{When: func(err error) bool {
		if errors.Is(err, errRule) {
			panic("boom")
		}
		return false
	}}}
	seen, kept := &idempotency.Memory{}, &aggregator.Memory{}
	var direct []channel.Address
	w.panics = slices.Clone(panics)
	if w.rnd.IntN(2) == 0 {
		direct = append(direct, work)
		w.panics[1].Value = "do" // there it is decoded first
	}
	if w.rnd.IntN(2) == 0 {
		direct = append(direct, jobs)
		w.panics[0].Value = "" // nobody encodes
		if len(direct) == 2 {
			w.panics[1].Value = ""
		}
	}
	for range 1 + w.rnd.IntN(2) {
		p := w.process(w.rarely(50))
		p.run("shop",
			flow.Step("route", incoming, router.Content(router.When("work", func(x item) bool {
				w.boom(x, "predicate")
				return true
			}, work))),
			flow.Step("map", work, translator.Map(func(x item) (item, error) {
				w.boom(x, "mapper")
				return x, nil
			}, jobs)),
			flow.Step("do", jobs, endpoint.DoMessage(act), flow.Around(idempotency.Receiver{Store: seenStore{seen, p}, Key: w.keyOf}, nervous{w})),
			flow.Step("pack", lines, &aggregator.Aggregator[item, pack]{
				Correlate: func(x item) string {
					w.boom(x, "correlate")
					return x.Group
				},
				Combine: func(key string, members []item) (pack, error) {
					w.boom(members[0], "combine")
					return combine(key, members)
				},
				To: packed, Size: 2, Store: groupStore{real: kept, p: p},
			}),
			flow.Step("ship", packed, endpoint.DoMessage(func(m channel.Message[pack]) error {
				for _, id := range m.Body.Members {
					w.ledger.effect(id)
				}
				return nil
			}), flow.Around(idempotency.Receiver{Store: seenStore{seen, p}})),
			flow.Direct(direct...), flow.Codec(fragile{w: w}, work, jobs), flow.Workers(1+w.rnd.IntN(8)), policy,
		)
	}
	w.sendPanics()
	pass(30 * time.Minute)
}

// sendPanics sends each kind, always and once, among healthy ones.
func (w *world) sendPanics() {
	n := 0
	next := func(how string) item {
		n++
		return item{ID: fmt.Sprint("m", n), Fault: how}
	}
	for at, step := range w.panics.All() {
		for _, how := range []string{at, at + " once", "", ""} {
			x := next(how)
			if how == at && step != "" {
				w.ledger.dies(x.ID)
			}
			if strings.HasPrefix(how, "exit") {
				w.ledger.repeats(x.ID) // it comes after the effect
			}
			if step != "pack" {
				w.send(string(incoming), w.key(10), x)
				continue
			}
			x.Group = x.ID
			w.send(string(lines), "", x)
			if how == "correlate" {
				continue // it joins no group
			}
			other := next(how)
			other.Group = x.Group
			if how == at {
				w.ledger.dies(other.ID) // the whole group
			}
			w.send(string(lines), "", other)
		}
	}
}

// checkLetter looks at the headers of a dead letter.
func (w *world) checkLetter(m *message.Message) {
	var x item
	if err := json.Unmarshal(m.Payload, &x); err != nil {
		w.ledger.wrong(wronglyDead, "%v: %s", err, m.Payload)
		return
	}
	meta := m.Metadata
	if want := w.panics.Get(x.Fault); meta.Get(flow.DeadStep) != want {
		w.ledger.wrong(wronglyDead, "%s panics at %s: its dead letter names step %q, want %q", x.ID, x.Fault, meta.Get(flow.DeadStep), want)
	}
	if x.Fault == "error" || x.Fault == "rule" {
		return
	}
	if meta.Get(flow.DeadClass) != "panic" || !strings.Contains(meta.Get(flow.DeadStack), "boom") {
		w.ledger.wrong(wronglyDead, "%s panics at %s: class %q, stack %.80q", x.ID, x.Fault, meta.Get(flow.DeadClass), meta.Get(flow.DeadStack))
	}
}
