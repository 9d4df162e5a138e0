package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// A writer writes messages to partitions. What waits for a partition is sent as one batch, and the next one only
// when the broker has said what became of it: a batch that nobody has heard of is sent again as it was. So messages
// of a partition are written in the order in which they came, whatever goes wrong, and an idempotent batch is
// written once.
//
// One goroutine, run, deals messages to partitions and decides. Whatever has to be waited for, a request or something to be
// looked up, is a goroutine of its own that comes back with a call (do).
type writer struct {
	conf   *PublisherConfig
	settle func([]*pending) // is told of what is settled, from many goroutines

	over chan struct{} // closed when run has ended
	end  sync.Once
	ctx  context.Context //nolint:containedctx // It ends when run is to.
	stop context.CancelFunc

	mu       sync.Mutex
	changed  *sync.Cond
	in       []*parcel
	calls    []func()
	closed   bool
	troubles map[string]error // the latest of each topic that is in some

	// The rest is run's, but for away.
	client   sarama.Client
	lifeline *lifeline
	topics   map[string]*destination
	latest   *destination
	touched  []*partition             // to be looked at in this round
	desks    map[*sarama.Broker]*desk // with something to do
	failed   []*pending               // in this round
	now      time.Time                // of this round
	identities
	transaction *membership    // nil: it writes in none
	joining     []*partition   // that are to be enlisted in it
	away        sync.WaitGroup // requests and look-ups
}

func newWriter(c *PublisherConfig, settle func([]*pending)) *writer {
	w := &writer{conf: c, settle: settle, over: make(chan struct{}), topics: map[string]*destination{}, desks: map[*sarama.Broker]*desk{}, troubles: map[string]error{}}
	w.changed = sync.NewCond(&w.mu)
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w
}

// write takes a parcel over.
func (w *writer) write(p *parcel) {
	w.mu.Lock()
	w.in = append(w.in, p)
	w.mu.Unlock()
	w.changed.Signal()
}

// do has run call f.
func (w *writer) do(f func()) {
	w.mu.Lock()
	w.calls = append(w.calls, f)
	w.mu.Unlock()
	w.changed.Signal()
}

// run is the writer's goroutine.
func (w *writer) run() {
	defer close(w.over)
	var in []*parcel
	var calls []func()
	for {
		w.mu.Lock()
		for len(w.in) == 0 && len(w.calls) == 0 && !w.closed {
			w.changed.Wait()
		}
		in, w.in = w.in, in[:0]
		calls, w.calls = w.calls, calls[:0]
		closed := w.closed
		w.mu.Unlock()
		if closed {
			return
		}
		w.round(in, calls)
		clear(in)
		clear(calls)
	}
}

// round is what run does with what has come.
func (w *writer) round(in []*parcel, calls []func()) {
	w.now = time.Now()
	for _, f := range calls {
		f()
	}
	var err error
	if w.client == nil && len(in) > 0 {
		err = w.connect(w.ctx)
	}
	for _, p := range in {
		for i := range p.items {
			if err != nil {
				w.fail(&p.items[i], err)
				continue
			}
			w.deal(&p.items[i])
		}
	}
	w.dispatch()
	if len(w.failed) > 0 {
		w.settle(w.failed)
		w.failed = nil
	}
}

// connect makes the client.
func (w *writer) connect(ctx context.Context) error {
	conf, err := w.conf.config()
	if err != nil {
		return err
	}
	line := newLifeline(conf)
	client, err := w.conf.Cluster.connect(ctx, conf)
	if err != nil {
		return err
	}
	w.client, w.lifeline = client, line
	return nil
}

// close ends a writer of whose messages nobody wants to know any more. It may be called again.
func (w *writer) close() { w.end.Do(w.finish) }

func (w *writer) finish() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	w.changed.Signal()
	<-w.over
	if w.client == nil {
		return
	}
	w.lifeline.cut.Store(true)
	_ = w.client.Close()
	w.away.Wait()
}

// note notes a topic's latest trouble.
func (w *writer) note(d *destination, trouble error) {
	w.mu.Lock()
	w.troubles[d.name] = trouble
	w.mu.Unlock()
}

// fail settles a message that is with no broker.
func (w *writer) fail(x *pending, err error) {
	if x.state.CompareAndSwap(queued, settled) {
		x.err = fmt.Errorf("not sent: %w", err)
		w.failed = append(w.failed, x)
	}
}

// calm forgets a topic's trouble.
func (w *writer) calm(d *destination) {
	w.mu.Lock()
	delete(w.troubles, d.name)
	w.mu.Unlock()
}

// trouble is what the topic's latest trouble is, nil if there is none.
func (w *writer) trouble(topic string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.troubles[topic]
}
