package flow

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/tracing"
)

// A Handle controls a flow that runs. Its methods are safe for concurrent use.
type Handle struct {
	flow     *Flow
	tel      *telemetry
	pub      sender
	together int        // how many messages a lane sends at once at the most; about
	tx       *committer // nil: the flow is not ExactlyOnce

	following *following           // what every instance reads; nil: nothing
	asked     []message.Subscriber // for a Grouper: closed at the end

	ctx     context.Context //nolint:containedctx // Of clocks; ends last.
	intake  context.Context //nolint:containedctx // Of claims; ends first.
	stop    context.CancelCauseFunc
	cut     context.CancelCauseFunc // ends the intake
	claims  sync.WaitGroup
	clocks  sync.WaitGroup
	done    chan struct{}
	hurried chan struct{} // closed when nobody waits for retries any more
	hurry   sync.Once

	inside  atomic.Int64 // feeds, sources and a router's handlers under way
	paused  atomic.Int64 // steps
	back    atomic.Int64 // messages that were given back
	closing atomic.Bool
	empty   chan struct{} // closed when nothing is inside any more
	emptied sync.Once

	mu      sync.Mutex
	err     error                    // why it ended by itself
	patient bool                     // draining: retries are waited for
	gates   map[string]chan struct{} // of paused steps
}

// handle makes a handle whose flow stops in good order when ctx ends.
func (f *Flow) handle(ctx context.Context, pub message.Publisher, sub message.Subscriber) *Handle {
	h := &Handle{
		flow: f, tel: f.telemetry(sub, pub), pub: senderOf(pub), done: make(chan struct{}), hurried: make(chan struct{}), empty: make(chan struct{}),
		gates: map[string]chan struct{}{}, together: flushAt,
	}
	h.ctx, h.stop = context.WithCancelCause(tracing.Bare(context.WithoutCancel(ctx)))
	if _, waits := h.pub.(oneByOne); waits {
		h.together = 1
	}
	h.intake, h.cut = context.WithCancelCause(h.ctx)
	return h
}

// begin starts the sources and the clocks, and waits for the end.
func (h *Handle) begin(ctx context.Context) {
	unhook := context.AfterFunc(ctx, h.halt)
	for _, s := range h.flow.steps {
		for _, in := range s.inlets {
			if in.clock != nil {
				c := h.clock(in)
				h.clocks.Go(func() { c.run(h.ctx) })
			}
		}
		if s.source != nil {
			h.open(s)
		}
	}
	go func() {
		<-h.intake.Done()
		h.claims.Wait()
		<-h.ctx.Done()
		<-h.empty
		h.clocks.Wait()
		h.tx.stop()
		h.closeAsked()
		unhook()
		h.tel.stop()
		close(h.done)
	}()
}

// closeAsked closes the subscribers that were asked for: a Grouper holds on to them until then.
func (h *Handle) closeAsked() {
	if err := closeAll(h.asked); err != nil {
		h.flow.logger().Warn("closing what the flow has read from", "flow", h.flow.name, "error", err)
	}
}

// halt begins to stop, at once.
func (h *Handle) halt() {
	h.shut()
	h.hurry.Do(func() { close(h.hurried) })
	h.cut(channel.ErrStopped)
	h.stop(channel.ErrStopped)
}

// shut lets nothing in any more.
func (h *Handle) shut() {
	h.closing.Store(true)
	if h.inside.Load() == 0 {
		h.emptied.Do(func() { close(h.empty) })
	}
}

// enter lets a message in that does not come by a claim, unless the flow is closing. It waits
// until the flow has caught up, and while it is paused where the message would come to.
func (h *Handle) enter(ctx context.Context, ins ...*inlet) error {
	h.inside.Add(1)
	if h.closing.Load() {
		h.leave()
		return channel.ErrStopped
	}
	if h.following != nil && waits(ins) && !h.following.ready(ctx) {
		h.leave()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return channel.ErrStopped
	}
	if h.paused.Load() > 0 && !h.waitOutside(ctx, h.flow.reached(ins)) {
		h.leave()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return channel.ErrStopped
	}
	return nil
}

func (h *Handle) leave() {
	if h.inside.Add(-1) == 0 && h.closing.Load() {
		h.emptied.Do(func() { close(h.empty) })
	}
}

// fail ends the flow by itself.
func (h *Handle) fail(err error) {
	h.mu.Lock()
	h.err = errors.Join(h.err, err)
	h.mu.Unlock()
	h.halt()
}

// Done is closed when the flow has ended.
func (h *Handle) Done() <-chan struct{} { return h.done }

// Err is why the flow ended by itself, nil if it was stopped or still runs.
func (h *Handle) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Stop ends the flow: it takes nothing more, finishes what is being worked on, gives back what waits
// for a retry, and returns when that is done.
func (h *Handle) Stop() {
	h.halt()
	<-h.done
}

// Drain ends the flow in good order: it takes nothing more, waits for what is in flight, retries
// included, fires the clocks that say AtEnd until nothing waits there, and stops. If ctx ends first,
// what is left is given back and the error says so. What a subscription did not wait for meanwhile, because its own
// time for letting go was over (DrainTimeout) or a partition went to another member, is an ErrGivenBack. Over direct
// hops everything taken is then through; what is on a broker's topic, between two steps too, stays there for the next run, and a memory
// broker's topics end with the process.
func (h *Handle) Drain(ctx context.Context) error {
	h.mu.Lock()
	h.patient = true
	h.mu.Unlock()
	before := h.back.Load()
	h.shut()
	h.cut(channel.ErrStopped)
	err := h.settled(ctx)
	if err == nil {
		err = h.fireAll(ctx)
	}
	left := h.unfinished()
	h.Stop()
	if err != nil {
		return h.flow.errorf("draining: %w: %s", err, left)
	}
	err = h.Err()
	if n := h.back.Load() - before; n > 0 {
		err = errors.Join(err, h.flow.errorf("draining: %d %w: their subscription waited no longer for them: "+
			"give it a longer DrainTimeout, or shorten what it has to wait for", n, ErrGivenBack))
	}
	return err
}

// ErrGivenBack is why a flow was not drained to the end, though there was time.
var ErrGivenBack = errors.New("messages were given back, and come again")

// unfinished names the steps that messages are at.
func (h *Handle) unfinished() string {
	var at []string
	for _, s := range h.flow.steps {
		if n := s.counts.inFlight.Load(); n > 0 {
			at = append(at, fmt.Sprintf("%d at step %s", n, s.name))
		}
	}
	if at == nil {
		return "nothing is in flight any more"
	}
	return "in flight were " + strings.Join(at, ", ")
}

// settled waits until nothing is in flight.
func (h *Handle) settled(ctx context.Context) error {
	quiet := make(chan struct{})
	go func() {
		<-h.empty
		h.claims.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
		return nil
	case <-h.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *Handle) isPatient() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.patient
}

// Counts gives the accounting of every step, by its name: that of Flow.Counts, which adds up all runs.
func (h *Handle) Counts() map[string]Counts { return h.flow.Counts() }

// ErrUnknownStep is why a step cannot be paused, resumed or released.
var ErrUnknownStep = errors.New("the flow has no such step")

func (h *Handle) step(name string) (*step, error) {
	for _, s := range h.flow.steps {
		if s.name == name {
			return s, nil
		}
	}
	return nil, h.flow.errorf("step %q: %w", name, ErrUnknownStep)
}

// Pause stops the flow from taking messages that the step would see; what is in flight goes on. Other
// steps that share the topic pause with it, since a message is acknowledged after all of them.
func (h *Handle) Pause(step string) error {
	if _, err := h.step(step); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gates[step] == nil {
		h.gates[step] = make(chan struct{})
		h.paused.Add(1)
	}
	return nil
}

// Resume undoes Pause.
func (h *Handle) Resume(step string) error {
	if _, err := h.step(step); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if gate := h.gates[step]; gate != nil {
		close(gate)
		delete(h.gates, step)
		h.paused.Add(-1)
	}
	return nil
}

// waitOutside is wait for what is not let in any more once nothing is to be read.
func (h *Handle) waitOutside(ctx context.Context, steps []string) bool {
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(h.intake, end)()
	return h.wait(ctx, steps)
}

// wait holds while one of the steps is paused. It reports false once ctx has ended.
func (h *Handle) wait(ctx context.Context, steps []string) bool {
	if h.paused.Load() == 0 {
		return ctx.Err() == nil
	}
	for {
		h.mu.Lock()
		var gate chan struct{}
		if len(h.gates) > 0 {
			for _, s := range steps {
				if g := h.gates[s]; g != nil {
					gate = g
					break
				}
			}
		}
		h.mu.Unlock()
		if gate == nil {
			return ctx.Err() == nil
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return false
		case <-h.hurried:
			return false
		}
	}
}

// Release fires a key of the step's clocks now, due or not: an open group is released as it is. Nil means
// that it was, or that there was none.
func (h *Handle) Release(step, key string) error {
	s, err := h.step(step)
	if err != nil {
		return err
	}
	if err := h.enter(h.ctx); err != nil {
		return h.flow.errorf("releasing key %q of step %s: %w", key, step, err)
	}
	defer h.leave()
	found := false
	for _, in := range s.inlets {
		if in.clock == nil {
			continue
		}
		found = true
		if err := h.fire(h.ctx, in, key); err != nil {
			return err
		}
	}
	if !found {
		return h.flow.errorf("step %s has no clock: nothing to release", step)
	}
	return nil
}

// fireAll fires every key that waits at a clock that says AtEnd, until none is left.
func (h *Handle) fireAll(ctx context.Context) error {
	for more := true; more; {
		more = false
		for _, s := range h.flow.steps {
			for _, in := range s.inlets {
				if in.clock == nil || !in.clock.AtEnd {
					continue
				}
				if h.following.behind() {
					return errBehind
				}
				due, err := in.due(ctx, channel.DueRequest{Now: time.Now(), Limit: dueLimit, All: true})
				if err != nil {
					return err
				}
				for _, key := range due.Keys {
					if err := h.fire(ctx, in, key); err != nil {
						return err
					}
					more = true
				}
			}
		}
	}
	return nil
}

// dueLimit is how many keys a clock is asked for at once.
const dueLimit = 100

func (h *Handle) fire(ctx context.Context, in *inlet, key string) error {
	a := channel.Arrival{
		Context: channel.Early(ctx), Scope: in.step.scope, ID: in.step.scope + "/" + key, Key: key, Codecs: h.flow.codecs, Tick: true,
	}
	if err := h.tel.newWork(in, &a).drive(h.pub, h.hurried); err != nil {
		return fmt.Errorf("releasing key %q of step %s: %w", key, in.step.name, err)
	}
	return nil
}
