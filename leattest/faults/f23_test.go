package faults_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
)

// F23: processes are killed before and after any call of the store, publish and acknowledgement. Every
// group comes out all the same: its members, under one id.
func TestF23(t *testing.T) { seeds(t, func(w *world) { f23(w, 12, 12, false) }) }

// A thousand groups in one run.
func TestF23Thousand(t *testing.T) {
	t.Parallel()
	seed, only := number(t, "LEAT_SEED")
	if !only {
		seed = uint64(time.Now().UnixNano() % 1e9)
	}
	r := live(t, seed, func(w *world) { f23(w, 1000, 200, false) })
	if !r.zero() || r.stats["groups"] != 1000 || r.stats["kills"] < 100 {
		t.Fatalf("LEAT_SEED=%d: %v", seed, r)
	}
	t.Logf("LEAT_SEED=%d: %v", seed, r)
}

func TestF23CanFail(t *testing.T) {
	canFail(t, mixed, func(w *world) { f23(w, 60, 40, true) }) // no memory of released members: ghost groups
}

// A packer is a process that is started again whenever it was killed.
func f23(w *world, groupsOf, kills int, forgets bool) {
	w.driver = claims // the others hear of no kill
	store, seen := &aggregator.Memory{}, &idempotency.Memory{}
	g := newGroups(w, "g", groupsOf, 4)
	var mu sync.Mutex
	rate := 12 + w.rnd.IntN(30)
	crash := func(call, id string) fault {
		if call == "due" || call == "return" { // it would be killed when it is idle
			return none
		}
		roll := w.dice.roll(rate, call, id)
		mu.Lock()
		defer mu.Unlock()
		if roll > 1 || kills == 0 {
			return none
		}
		kills--
		return killed + fault(roll)
	}
	over := make(chan struct{})
	var keepers sync.WaitGroup
	for i := range 1 + w.rnd.IntN(2) {
		start := func() *process {
			p := w.process(crash)
			p.run("shop", flow.Step("pack", lines, &aggregator.Aggregator[item, pack]{
				Correlate: func(x item) string { return x.Group }, Combine: combine, To: packed,
				SizeOf: g.sizeOf, Timeout: 10 * time.Hour, Lease: 2 * time.Second,
				Store: groupStore{real: store, p: p, forgets: forgets},
			}), flow.Workers(1+i*4), flow.Policy{DeadLetter: dead})
			return p
		}
		p := start()
		keepers.Go(func() {
			for {
				select {
				case <-p.ctx.Done():
				case <-over:
					return
				}
				p.stop()
				p = start()
			}
		})
	}
	ship := w.process(nil) // it is not killed
	ship.run("ship", flow.Step("ship", packed, endpoint.DoMessage(g.arrived),
		flow.Around(idempotency.Receiver{Store: seen})), flow.Policy{DeadLetter: dead})
	for _, x := range g.items {
		w.put(string(lines), x.ID, w.key(4), encode(x))
		w.ledger.effect(x.ID) // what counts is its group
		w.ledger.published(x.ID, "")
	}
	pass(24 * time.Hour)
	close(over)
	keepers.Wait()
	g.check()
	if s := store.Stats("shop/pack"); s.Groups > 0 {
		w.ledger.wrong(left, "%+v in the store", s)
	}
	if s := store.Stats("shop/pack"); s.Forgotten > 0 {
		panic(fmt.Sprint("the store is too small for the test: ", s))
	}
}
