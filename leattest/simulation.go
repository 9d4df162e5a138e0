package leattest

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/flow"
)

// A Simulation has instances of a flow work on one World, kills them before or after any effect they
// have, or stops them in good order, starts others in their place, and lets all be well in the end. A
// seed chooses what happens.
//
//	h := leattest.Simulation{Seed: seed}.Run(t, func(w *leattest.World) leattest.Program {
//		groups, seen := &aggregator.Memory{}, &idempotency.Memory{} // outlive the instances
//		w.Put("orders", "o1", `{"ID":"1"}`)
//		return func(i *leattest.Instance) (*flow.Flow, error) {
//			return orders.New(i.AggregatorStore(groups), i.IdempotencyStore(seen))
//		}
//	})
//	// judge h.World.Log("packed") and the rest
//
// It takes virtual time only.
type Simulation struct {
	Seed   uint64
	Driver Driver
	// Instances work side by side. 0: 2. During the healing there is one.
	Instances int
	// Fuse is the most effects an instance has before it dies; the seed chooses from 1. 0: 40. Below 0
	// nobody dies.
	Fuse int
	// Storm is how long instances are killed and stopped. 0: 2 min.
	Storm time.Duration
	// Heal is how long all is well afterwards: longer than every timeout and retry of the flow. 0: 1 h.
	Heal time.Duration
}

// A Driver is what runs the flow in a Simulation.
type Driver uint8

// The drivers.
const (
	// Stepped is the flow's core in one goroutine, where the seed chooses what happens next: a seed names
	// one history, byte for byte. It needs code that is deterministic itself.
	Stepped Driver = iota
	// Engine is flow.Start. What runs side by side there is not the seed's to choose.
	Engine
	// Router is flow.AddTo, on a Watermill router.
	Router
)

// String gives the driver's name.
func (d Driver) String() string { return [...]string{"stepped", "engine", "router"}[min(d, Router)] }

// A Program makes the flow of one instance, on the instance's handles. It must not use a flow twice.
type Program func(i *Instance) (*flow.Flow, error)

// Run runs the simulation. Setup is called in its bubble of testing/synctest: what it makes is what
// outlives the instances, and what it puts into the World is there at the beginning. Run ends the test
// if the flow cannot start, and fails it if at the end the accounting of a step does not balance.
func (s Simulation) Run(t *testing.T, setup func(w *World) Program) *History {
	t.Helper()
	h := &History{Seed: s.Seed, World: &World{}}
	if s.Instances <= 0 {
		s.Instances = 2
	}
	if s.Fuse == 0 {
		s.Fuse = 40
	}
	if s.Storm == 0 {
		s.Storm = 2 * time.Minute
	}
	if s.Heal == 0 {
		s.Heal = time.Hour
	}
	synctest.Test(t, func(t *testing.T) {
		h.from = time.Now()
		h.World.trace = h.note
		r := &run{
			Simulation: s, t: t, history: h, world: h.World, program: setup(h.World),
			rnd: rand.New(rand.NewPCG(s.Seed, uint64(s.Driver))),
		}
		defer func() { // whatever ended the test, no goroutine outlives it
			for _, x := range r.all {
				r.kill(x)
			}
			h.World.trace = nil
		}()
		r.storm()
		r.heal()
	})
	return h
}

// A run is a Simulation under way.
type run struct {
	Simulation

	t       *testing.T
	history *History
	world   *World
	program Program
	rnd     *rand.Rand
	all     []*process
}

// A process is an instance with the flow it runs.
type process struct {
	*Instance

	flow *flow.Flow
	// Of Engine and Router.
	end func()
	// Of Stepped.
	ctx     context.Context //nolint:containedctx // Of the messages.
	cancel  context.CancelCauseFunc
	stepper *flow.Stepper
	groups  []*group // what it reads
	held    []*attempt
}

// launch starts an instance.
func (r *run) launch(mortal bool) *process {
	n, after := 0, false
	if mortal && r.Fuse > 0 {
		n, after = 1+r.rnd.IntN(r.Fuse), r.rnd.IntN(2) == 0
	}
	x := &process{Instance: r.world.Instance(n, after)}
	x.note("starts")
	var err error
	if x.flow, err = r.program(x.Instance); err != nil {
		r.t.Fatalf("seed %d: making the flow: %v", r.Seed, err)
	}
	switch r.Driver {
	case Engine:
		x.end, err = startEngine(x)
	case Router:
		x.end, err = startRouter(x)
	default:
		r.startStepped(x)
	}
	if err != nil {
		r.t.Fatalf("seed %d: starting the flow: %v", r.Seed, err)
	}
	return x
}

// stop ends a process in good order, if it lives, and waits until nothing is left of it.
func (r *run) stop(x *process) {
	if x.end != nil {
		x.end()
		x.end = nil
	}
	r.abandon(x)
	x.Kill()
}

// kill ends a process.
func (r *run) kill(x *process) {
	x.Kill()
	r.stop(x)
}

// rarely says of a process whose turn it is that it is stopped.
func (r *run) rarely() bool {
	if r.Driver == Stepped {
		return r.rnd.IntN(64) == 0
	}
	return r.rnd.IntN(16) == 0
}

// storm is the time of the kills.
func (r *run) storm() {
	for range r.Instances {
		r.all = append(r.all, r.launch(true))
	}
	over := time.Now().Add(r.Storm)
	for time.Now().Before(over) {
		at := r.rnd.IntN(len(r.all))
		x := r.all[at]
		switch {
		case x.Dead():
			r.history.Kills++
			r.stop(x)
			r.all[at] = r.launch(true)
		case r.Fuse > 0 && r.rarely():
			r.history.Stops++
			x.note("stops")
			r.stop(x)
			r.all[at] = r.launch(true)
		case r.Driver == Stepped:
			r.act(x)
		default:
			pass(r.t.Context(), time.Duration(1+r.rnd.IntN(3000))*time.Millisecond)
			synctest.Wait()
		}
	}
}

// heal is the time after them: one instance, which nobody kills.
func (r *run) heal() {
	for _, x := range r.all {
		r.kill(x)
	}
	x := r.launch(false)
	r.all = []*process{x}
	if r.Driver == Stepped {
		r.calm(x)
	} else {
		pass(r.t.Context(), r.Heal)
		synctest.Wait()
	}
	r.history.Left = r.world.Left()
	for name, c := range x.flow.Counts() {
		if !c.Balanced() || c.InFlight != 0 && len(r.history.Left) == 0 {
			r.t.Errorf("seed %d: accounting of step %s does not balance: %v", r.Seed, name, c)
		}
	}
}
