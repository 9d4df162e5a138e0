package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// A destination is a topic that is written to.
type destination struct {
	name       string
	chooses    sarama.Partitioner
	asked      sarama.ProducerMessage // to ask it with
	key        body
	partitions []*partition
	waiting    []*pending // until the partitions are known
	looking    bool
	looked     time.Time // at how many partitions there are
	failures   int       // to look, in a row
}

// A partition is what waits for one partition, and its batch.
type partition struct {
	of      *destination
	number  int32
	waiting []*pending // in no batch
	batch   *batch     // under way, or to be sent again
	busy    bool       // run waits for something about it, and leaves it alone until then
	touched bool

	leader   *sarama.Broker
	identity *identity
	sequence int32 // of the next batch
	failures int   // in a row
	most     int   // bytes of a batch
	enlisted int   // in which transaction
}

// A desk is a broker that is written to.
type desk struct {
	broker *sarama.Broker
	ready  []*partition // to be sent to
	open   int          // requests under way
}

const (
	openRequests = 2           // at once, to a broker: one is on its way while the other is answered
	requestBytes = 8 << 20     // of one
	lookEvery    = time.Minute // a topic may get more partitions
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
)

func newWriter(c *PublisherConfig, settle func([]*pending)) *writer {
	w := &writer{conf: c, settle: settle, over: make(chan struct{}), topics: map[string]*destination{}, desks: map[*sarama.Broker]*desk{}, troubles: map[string]error{}}
	w.changed = sync.NewCond(&w.mu)
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
		err = w.connect(context.Background())
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
	w.changed.Signal()
	<-w.over
	if w.client == nil {
		return
	}
	w.lifeline.cut.Store(true)
	_ = w.client.Close()
	w.away.Wait()
}

// deal puts a message where it belongs.
func (w *writer) deal(x *pending) {
	d := w.latest
	if d == nil || d.name != x.topic {
		d = w.destination(x.topic)
		w.latest = d
	}
	switch {
	case len(d.partitions) == 0:
		d.waiting = append(d.waiting, x)
		w.look(d)
		return
	case w.now.Sub(d.looked) > lookEvery:
		w.look(d)
	}
	w.place(d, x)
}

func (w *writer) destination(topic string) *destination {
	d, ok := w.topics[topic]
	if !ok {
		d = &destination{name: topic, chooses: w.client.Config().Producer.Partitioner(topic)}
		w.topics[topic] = d
	}
	return d
}

// look finds out how many partitions a topic has. One that is missing is made, or its messages fail.
func (w *writer) look(d *destination) {
	if d.looking {
		return
	}
	d.looking = true
	w.away.Go(func() {
		n, err := w.count(d.name)
		w.do(func() { w.counted(d, n, err) })
	})
}

func (w *writer) count(topic string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), w.conf.Cluster.ReadTimeout)
	defer cancel()
	missing, err := missingOf(w.client, []string{topic}, false)
	if err == nil && len(missing) > 0 {
		err = ensureBy(ctx, w.client, w.conf.Create, missing)
	}
	if err != nil {
		return 0, err
	}
	if err := w.client.RefreshMetadata(topic); err != nil {
		return 0, fmt.Errorf("topic %q: %w", topic, err)
	}
	ids, err := w.client.Partitions(topic)
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", topic, err)
	}
	return len(ids), nil
}

func (w *writer) counted(d *destination, n int, err error) {
	d.looking, d.looked = false, w.now
	if err != nil && len(d.partitions) == 0 && !errors.Is(err, ErrNoTopic) && isPassing(err) {
		w.lookAgain(d, err)
		return
	}
	if d.failures > 0 {
		w.calm(d)
	}
	d.failures = 0
	for i := len(d.partitions); i < n; i++ {
		d.partitions = append(d.partitions, &partition{of: d, number: int32(i), most: w.client.Config().Producer.MaxMessageBytes}) //nolint:gosec // A few.
	}
	for _, x := range d.waiting {
		if len(d.partitions) == 0 {
			w.fail(x, err)
			continue
		}
		w.place(d, x)
	}
	d.waiting = nil
}

// lookAgain looks at a topic after a pause, for those who still wait for it.
func (w *writer) lookAgain(d *destination, trouble error) {
	d.looking = true
	d.failures++
	w.note(d, trouble)
	d.waiting = waitingOf(d.waiting)
	time.AfterFunc(pause(firstPause, longestPause, d.failures), func() {
		w.do(func() {
			if d.looking = false; len(d.waiting) > 0 {
				w.look(d)
			}
		})
	})
}

// waitingOf leaves out messages whose senders have given up.
func waitingOf(xs []*pending) []*pending {
	return slices.DeleteFunc(xs, func(x *pending) bool { return x.state.Load() == settled })
}

// note notes a topic's latest trouble.
func (w *writer) note(d *destination, trouble error) {
	w.mu.Lock()
	w.troubles[d.name] = trouble
	w.mu.Unlock()
}

// place has a message wait for the partition of its key.
func (w *writer) place(d *destination, x *pending) {
	d.asked.Key = nil
	if d.key = x.rec.Key; d.key != nil {
		d.asked.Key = &d.key
	}
	i, err := d.chooses.Partition(&d.asked, int32(len(d.partitions))) //nolint:gosec // A few.
	if err != nil {
		w.fail(x, err)
		return
	}
	p := d.partitions[i]
	p.waiting = append(p.waiting, x)
	w.touch(p)
}

// touch has a partition looked at in this round.
func (w *writer) touch(p *partition) {
	if !p.touched {
		p.touched = true
		w.touched = append(w.touched, p)
	}
}

// fail settles a message that is with no broker.
func (w *writer) fail(x *pending, err error) {
	if x.state.CompareAndSwap(queued, settled) {
		x.err = fmt.Errorf("not sent: %w", err)
		w.failed = append(w.failed, x)
	}
}

// failAll fails what waits for a partition.
func (w *writer) failAll(p *partition, err error) {
	for _, x := range p.waiting {
		w.fail(x, err)
	}
	clear(p.waiting)
	p.waiting = p.waiting[:0]
}

// dispatch sends what can be sent, and has looked up what is missing for the rest.
func (w *writer) dispatch() {
	for _, p := range w.touched {
		p.touched = false
		if p.busy || p.batch == nil && len(p.waiting) == 0 || !w.isReady(p) {
			continue
		}
		p.busy = true
		d := w.desks[p.leader]
		if d == nil {
			d = &desk{broker: p.leader}
			w.desks[p.leader] = d
		}
		d.ready = append(d.ready, p)
	}
	clear(w.touched)
	w.touched = w.touched[:0]
	w.enlist()
	for _, d := range w.desks {
		w.serve(d)
	}
}

// isReady reports whether a partition may be written to. What is missing for that is on its way then.
func (w *writer) isReady(p *partition) bool {
	switch {
	case w.transaction != nil && w.transaction.failed != nil:
		w.failAll(p, w.transaction.failed)
	case p.leader == nil:
		w.find(p)
	case p.identity == nil && !w.identify(p):
	case w.transaction != nil && p.enlisted != w.transaction.number:
		p.busy = true
		w.joining = append(w.joining, p)
	default:
		return true
	}
	return false
}

// serve sends requests to a broker, as many as may be open at once.
func (w *writer) serve(d *desk) {
	for d.open < openRequests && len(d.ready) > 0 {
		var bs []*batch
		n, bytes := 0, 0
		for ; n < len(d.ready) && bytes < requestBytes; n++ {
			p := d.ready[n]
			if p.batch == nil {
				p.batch = w.pack(p)
			}
			if p.batch == nil { // all of it is settled
				p.busy = false
				continue
			}
			bs = append(bs, p.batch)
			bytes += p.batch.bytes
		}
		d.ready = append(d.ready[:0], d.ready[n:]...)
		if len(bs) == 0 {
			continue
		}
		d.open++
		w.away.Go(func() {
			w.request(d.broker, bs)
			w.do(func() { w.back(d, bs) })
		})
	}
	if d.open == 0 && len(d.ready) == 0 {
		delete(w.desks, d.broker)
	}
}

// pack makes a batch of what waits for a partition, nil if nobody waits any more.
func (w *writer) pack(p *partition) *batch {
	b := &batch{to: p}
	n := 0
	for ; n < len(p.waiting); n++ {
		x := p.waiting[n]
		if len(b.items) > 0 && b.bytes+x.bytes > p.most {
			break
		}
		if err := x.ended(); err != nil {
			w.fail(x, err)
			continue
		}
		if !x.state.CompareAndSwap(queued, given) {
			continue
		}
		if b.items == nil {
			b.items = make([]*pending, 0, len(p.waiting)-n)
		}
		b.items = append(b.items, x)
		b.bytes += x.bytes
	}
	rest := copy(p.waiting, p.waiting[n:])
	clear(p.waiting[rest:])
	p.waiting = p.waiting[:rest]
	if len(b.items) == 0 {
		return nil
	}
	return b
}

// back goes on with the partitions of a request that is answered.
func (w *writer) back(d *desk, bs []*batch) {
	d.open--
	for _, b := range bs {
		b.to.busy = false
		w.judge(b.to, b)
		w.touch(b.to)
	}
}

// judge decides what becomes of a batch that is back.
func (w *writer) judge(p *partition, b *batch) {
	if b.err == nil {
		if p.failures > 0 {
			w.calm(p.of)
		}
		p.failures, p.batch, p.sequence = 0, nil, following(p.sequence, len(b.items))
		return
	}
	r, why := remedyOf(b.err), reason(p.of.name, b.err)
	b.doubtful = b.doubtful || r == seekAnswer
	halved := r == refuse && !b.doubtful && b.isTooLarge() && len(b.items) > 1
	if t := w.transaction; t != nil && (r == refuse || r == renew) && !halved { // it comes to nothing
		r, t.failed = refuse, why
	}
	switch {
	case halved:
		p.most = max(b.bytes/2, 1)
		w.unpack(p)
	case r == renew: // the broker knows nothing of the batches before, and has not written this one
		w.renew(p)
		w.unpack(p)
		w.rest(p, why)
	case r == refuse && b.doubtful: // it may have been written before, under numbers that no other batch may have now
		w.renew(p)
		b.bad = nil
		w.refused(b, fmt.Errorf("%w: %w", ErrUnknown, why))
		w.unpack(p)
	case r == refuse:
		w.refused(b, why)
		w.unpack(p)
	case b.doubtful && b.isAbandoned(): // all who sent it have been told that nobody knows
		p.leader = nil
		w.renew(p)
		p.batch = nil
		w.rest(p, why)
	case b.doubtful: // it goes out again as it is
		p.leader = nil
		w.rest(p, why)
	default:
		p.leader = nil
		w.unpack(p)
		w.rest(p, why)
	}
}

// refused settles what of a batch the broker has refused for good: the records it names, or all.
func (w *writer) refused(b *batch, why error) {
	bad := map[int]bool{}
	for _, r := range b.bad {
		if int(r.BatchIndex) < len(b.items) {
			bad[int(r.BatchIndex)] = true
		}
	}
	for i, x := range b.items {
		if len(bad) > 0 && !bad[i] {
			continue
		}
		if x.state.CompareAndSwap(given, settled) {
			x.err = why
			w.failed = append(w.failed, x)
		}
	}
}

// unpack has what was in a batch that was not written wait again.
func (w *writer) unpack(p *partition) {
	waiting := make([]*pending, 0, len(p.batch.items)+len(p.waiting))
	for _, x := range p.batch.items {
		if x.state.CompareAndSwap(given, queued) {
			waiting = append(waiting, x)
		}
	}
	p.waiting, p.batch = append(waiting, p.waiting...), nil
}

// rest has a partition in trouble wait before the next try.
func (w *writer) rest(p *partition, trouble error) {
	p.busy = true
	p.failures++
	w.note(p.of, trouble)
	p.waiting = waitingOf(p.waiting)
	time.AfterFunc(pause(firstPause, longestPause, p.failures), func() {
		w.do(func() {
			p.busy = false
			w.touch(p)
		})
	})
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

// find looks up who leads a partition.
func (w *writer) find(p *partition) {
	p.busy = true
	afresh := p.failures > 0
	w.away.Go(func() {
		var err error
		if afresh {
			err = w.client.RefreshMetadata(p.of.name)
		}
		var leader *sarama.Broker
		if err == nil {
			leader, err = w.client.Leader(p.of.name, p.number)
		}
		w.do(func() {
			p.busy = false
			if err != nil {
				w.rest(p, reason(p.of.name, err))
				return
			}
			p.leader = leader
			w.touch(p)
		})
	})
}

// enlist makes partitions that have none of it yet part of the transaction.
func (w *writer) enlist() {
	ps := w.joining
	if len(ps) == 0 {
		return
	}
	w.joining = nil
	number := w.transaction.number
	w.away.Go(func() {
		err := w.transaction.enlist(ps)
		w.do(func() {
			for _, p := range ps {
				p.busy = false
				if err == nil {
					p.enlisted = number
					w.touch(p)
					continue
				}
				w.failAll(p, fmt.Errorf("topic %q: %w", p.of.name, err))
			}
		})
	})
}
