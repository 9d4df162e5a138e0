package faults_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F34: two flows on one broker and one store, and two steps of one flow, get messages with the same
// correlation ids and the same message ids; one of them is flooded with them. Groups are never mixed,
// and none is larger than its limit.
func TestF34(t *testing.T) { seeds(t, func(w *world) { f34(w, f34Limit, false) }) }

func TestF34CanFail(t *testing.T) {
	t.Run("no scopes", func(t *testing.T) {
		canFail(t, mixed, func(w *world) { f34(w, f34Limit, true) })
	})
	t.Run("no limit", func(t *testing.T) {
		canFail(t, tooMany, func(w *world) { f34(w, 1000, false) })
	})
}

const f34Limit = 7

func f34(w *world, limit int, oneScope bool) {
	groups, seen := &aggregator.Memory{}, &idempotency.Memory{}
	// A member counts once at each of the steps that see it, so its effects are under the step's name.
	run := func(name string, steps ...string) {
		p := w.process(w.rarely(40))
		var all []flow.Part
		for _, step := range steps {
			to := channel.Topic[pack](name + "." + step)
			all = append(all,
				flow.Step(step, channel.Topic[item](name), &aggregator.Aggregator[item, pack]{
					Correlate: func(x item) string { return x.Group }, Combine: combine, To: to, MaxMembers: limit,
					Timeout: time.Minute, Store: groupStore{real: groups, p: p, oneScope: oneScope},
				}),
				flow.Step("ship-"+step, to, endpoint.DoMessage(func(m channel.Message[pack]) error {
					w.shipped(name, step, m.Body)
					return nil
				}), flow.Around(idempotency.Receiver{Store: seenStore{seen, p}})),
			)
		}
		p.run(name, append(all, flow.Workers(1+w.rnd.IntN(8)),
			flow.Policy{Attempts: 5, Backoff: flow.Fixed(50 * time.Millisecond), DeadLetter: dead})...)
	}
	for range 1 + w.rnd.IntN(2) {
		run("a", "pack", "count")
		run("b", "pack")
	}
	type member struct {
		flow string
		item
	}
	var all []member
	for g := range 6 {
		key := fmt.Sprint("g", g)
		for _, to := range []string{"a", "b"} {
			n := 1 + w.rnd.IntN(f34Limit-1)
			if to == "a" && g%2 == 0 {
				n = 2*f34Limit + w.rnd.IntN(f34Limit) // the flood
			}
			for i := range n {
				all = append(all, member{to, item{ID: fmt.Sprint(to, ".", key, "-", i), Group: key}})
			}
		}
	}
	w.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, x := range all {
		id := strings.TrimPrefix(x.ID, x.flow) // the same in both flows
		w.put(x.flow, id, w.key(3), encode(x.item))
		w.ledger.published(x.flow+"/pack/"+x.ID, "")
		if x.flow == "a" {
			w.ledger.published("a/count/"+x.ID, "")
		}
	}
	pass(30 * time.Minute)
}

// shipped is the effect of a group.
func (w *world) shipped(flow, step string, p pack) {
	if len(p.Members) > f34Limit {
		w.ledger.wrong(tooMany, "%d members of group %s at %s/%s", len(p.Members), p.Group, flow, step)
	}
	if slices.ContainsFunc(p.Members, func(id string) bool { return !strings.HasPrefix(id, flow+"."+p.Group+"-") }) {
		w.ledger.wrong(mixed, "group %s at %s/%s: %v", p.Group, flow, step, p.Members)
	}
	for _, id := range p.Members {
		w.ledger.effect(flow + "/" + step + "/" + id)
	}
}
