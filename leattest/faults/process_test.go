package faults_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/flow"
)

// A driver is how a flow is run.
type driver string

const (
	claims  driver = "engine, claims"
	plain   driver = "engine, any subscriber and publisher"
	routers driver = "router"
)

var drivers = []driver{claims, claims, plain, routers}

// A process runs one flow. It stops in good order, or is killed as by kill -9: from then on none of its
// calls reaches a store or the broker, and what it had of the broker's is delivered again.
type process struct {
	w      *world
	number int
	group  string
	ctx    context.Context
	kill   context.CancelFunc
	fault  func(call, id string) fault // what happens to its calls; nil: nothing
	pub    *publisher

	flow    *flow.Flow
	handle  *flow.Handle
	router  *message.Router
	over    chan struct{}
	stopped bool
}

func (w *world) process(fault func(call, id string) fault) *process {
	p := &process{w: w, fault: fault}
	p.ctx, p.kill = context.WithCancel(context.Background())
	p.pub = &publisher{real: w.broker.Publisher(), p: p, known: map[string]bool{}}
	w.mu.Lock()
	defer w.mu.Unlock()
	p.number = len(w.procs)
	w.procs = append(w.procs, p)
	return p
}

// gone reports that the process was killed.
func (p *process) gone() bool { return p.ctx.Err() != nil }

// run makes the flow and runs it by the world's driver.
func (p *process) run(name string, parts ...flow.Part) {
	w := p.w
	w.t.Helper()
	f, err := flow.New(name, append(parts, flow.Logger(quiet))...)
	if err != nil {
		w.t.Fatal(err)
	}
	p.flow, p.group = f, name
	var pub message.Publisher = p.pub
	end := w.broker.Subscriber(name)
	var sub message.Subscriber = subscriber{end, p}
	switch w.driver {
	case claims:
	case plain:
		pub, sub = struct{ message.Publisher }{pub}, struct{ message.Subscriber }{end}
	case routers:
		p.route(pub, end)
		return
	}
	if p.handle, err = f.Start(context.Background(), pub, sub); err != nil {
		w.t.Fatal(err)
	}
}

func (p *process) route(pub message.Publisher, sub message.Subscriber) {
	t := p.w.t
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	if p.handle, err = p.flow.AddTo(r, pub, sub); err != nil {
		t.Fatal(err)
	}
	p.router, p.over = r, make(chan struct{})
	go func() {
		defer close(p.over)
		if err := r.Run(context.Background()); err != nil {
			t.Errorf("running the router: %v", err)
		}
	}()
	<-r.Running()
}

// stop ends the process in good order, if it has not been killed.
func (p *process) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	if p.router == nil {
		p.handle.Stop()
		return
	}
	if err := p.router.Close(); err != nil {
		p.w.t.Errorf("closing the router: %v", err)
	}
	<-p.over
}

// tried counts how often the process was asked for an id, this time included.
func (p *process) tried(id string) int {
	return p.w.dice.throws(fmt.Sprint("tried by ", p.number), id)
}
