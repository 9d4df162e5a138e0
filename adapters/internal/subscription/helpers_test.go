package subscription

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errRevoked = errors.New("partition was given to another")
	errClosed  = errors.New("closed")
)

// A fakeClaim gives what it was told to, and notes what comes back.
type fakeClaim struct {
	order  adapters.Order
	window int             // 0: none
	given  context.Context // that of Claim
	ctx    context.Context // ownership
	revoke context.CancelCauseFunc

	mu       sync.Mutex
	records  []*adapters.Record
	open     int
	closed   bool
	finished []string
	returned []string
	unseen   []string   // of them, those that are said to be shown to nobody
	runs     [][]string // of Finish
	wake     chan struct{}
	onFinish func()
	late     chan struct{} // Next is slow to tell that it is over, if there is one
}

func claimOf(order adapters.Order, rs ...*adapters.Record) *fakeClaim {
	c := &fakeClaim{order: order, records: rs, wake: make(chan struct{}, 1)}
	c.ctx, c.revoke = context.WithCancelCause(context.Background())
	return c
}

func (c *fakeClaim) Context() context.Context { return c.ctx }
func (c *fakeClaim) Topic() string            { return "orders" }
func (c *fakeClaim) Order() adapters.Order    { return c.order }

func (c *fakeClaim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	for {
		c.mu.Lock()
		switch {
		case c.ctx.Err() != nil || c.given.Err() != nil || c.closed:
			c.mu.Unlock()
			if c.late != nil {
				<-c.late
			}
			return run, errClosed
		case len(c.records) > 0 && (c.window == 0 || c.open < c.window):
			n := min(len(c.records), cap(run)-len(run))
			if c.window > 0 {
				n = min(n, c.window-c.open)
			}
			run = append(run, c.records[:n]...)
			c.records, c.open = c.records[n:], c.open+n
			c.mu.Unlock()
			return run, nil
		}
		c.mu.Unlock()
		select {
		case <-c.wake:
		case <-c.ctx.Done():
		case <-c.given.Done():
		}
	}
}

func (c *fakeClaim) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *fakeClaim) add(rs ...*adapters.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, rs...)
	c.nudge()
}

// shut has Next fail as it does when the Subscriber is closed.
func (c *fakeClaim) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.nudge()
}

func (c *fakeClaim) Finish(rs []*adapters.Record) {
	if c.onFinish != nil {
		c.onFinish()
	}
	c.settled(rs, &c.finished)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs = append(c.runs, c.finished[len(c.finished)-len(rs):])
}

func (c *fakeClaim) Return(rs []*adapters.Record) { c.settled(rs, &c.returned) }

func (c *fakeClaim) settled(rs []*adapters.Record, to *[]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range rs {
		*to = append(*to, rs[i].ID)
		if rs[i].Unseen {
			c.unseen = append(c.unseen, rs[i].ID)
		}
	}
	c.open -= len(rs)
	c.nudge()
}

// did fails unless this is what was finished and returned; in virtual time only.
func (c *fakeClaim) did(t *testing.T, finished, returned string) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, r := strings.Join(c.finished, " "), strings.Join(c.returned, " "); f != finished || r != returned {
		t.Fatalf("finished %q and returned %q, want %q and %q", f, r, finished, returned)
	}
}

// rec makes records of ids; what stands before a dot is the key.
func rec(ids ...string) (rs []*adapters.Record) {
	for _, id := range ids {
		key, _, keyed := strings.Cut(id, ".")
		if !keyed {
			key = ""
		}
		rs = append(rs, &adapters.Record{ID: id, Key: key, Payload: []byte("body of " + id), Native: native(id)})
	}
	return rs
}

// native is where a record comes from.
type native string

func (n native) String() string { return "orders/0/" + string(n) }

// A rig is a Deliver under way.
type rig struct {
	claim *fakeClaim
	out   chan *message.Message
	stop  context.CancelFunc
	done  chan struct{}
	log   *lines
}

// deliver starts Deliver in the bubble of the test, which ends it.
func deliver(t *testing.T, c Config, claim *fakeClaim) *rig {
	t.Helper()
	r := &rig{claim: claim, out: make(chan *message.Message), done: make(chan struct{}), log: &lines{}}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(r.log, nil))
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithValue(context.Background(), keyOf("subscription"), "of the subscription"))
	r.stop, claim.given = stop, ctx
	go func() {
		defer close(r.done)
		c.Deliver(ctx, claim, r.out)
	}()
	t.Cleanup(func() {
		stop()
		claim.revoke(errRevoked)
		<-r.done
	})
	return r
}

type keyOf string

// have gives what can be received now, unsettled; in virtual time only.
func (r *rig) have() (ms []*message.Message) {
	for {
		synctest.Wait()
		select {
		case m := <-r.out:
			ms = append(ms, m)
		default:
			return ms
		}
	}
}

// get fails unless exactly these are offered now, in any order, and gives them in this one.
func (r *rig) get(t *testing.T, ids ...string) (ms []*message.Message) {
	t.Helper()
	byID := map[string]*message.Message{}
	for _, m := range r.have() {
		byID[m.UUID] = m
	}
	for _, id := range ids {
		ms = append(ms, byID[id])
	}
	if len(byID) != len(ids) || slices.Contains(ms, nil) {
		t.Fatalf("offered %v, want %v", byID, ids)
	}
	return ms
}

// next fails unless exactly this one is offered now.
func (r *rig) next(t *testing.T, id string) *message.Message {
	t.Helper()
	return r.get(t, id)[0]
}

// none fails if anything is offered now.
func (r *rig) none(t *testing.T) {
	t.Helper()
	r.get(t)
}

// over fails unless Deliver has returned.
func (r *rig) over(t *testing.T, want bool) {
	t.Helper()
	synctest.Wait()
	select {
	case <-r.done:
		if !want {
			t.Fatal("Deliver has returned")
		}
	default:
		if want {
			t.Fatal("Deliver has not returned")
		}
	}
}

// short makes pauses of nearly no time.
var short = Backoff{Base: time.Millisecond, Cap: time.Millisecond}

// pass lets virtual time pass.
func pass(d time.Duration) { time.Sleep(d) }

// lines is what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), s)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A post is a publisher of dead letters.
type post struct {
	mu   sync.Mutex
	outs []*adapters.Outgoing // all that came, with their results
	sent []adapters.Outgoing  // as they were
	fail func(n int, o *adapters.Outgoing) error
	hold chan struct{} // results wait for it, if there is one
}

func (p *post) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	p.mu.Lock()
	for _, o := range outs {
		p.outs, p.sent = append(p.outs, o), append(p.sent, *o)
		if p.fail != nil {
			o.Err = p.fail(len(p.outs), o)
		}
	}
	hold := p.hold
	p.mu.Unlock()
	if hold == nil {
		done(outs)
		return
	}
	go func() {
		<-hold
		done(outs)
	}()
}

func (p *post) all() []adapters.Outgoing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func (p *post) ids() string {
	var ids []string
	for _, o := range p.all() {
		ids = append(ids, o.ID)
	}
	return strings.Join(ids, " ")
}

// header gives one header of a letter, or says that there is none.
func header(o *adapters.Outgoing, name string) string {
	for _, f := range o.Headers {
		if f.Name == name {
			return f.Value
		}
	}
	return fmt.Sprintf("<no %s>", name)
}

func letters(p *post) Config {
	return Config{MaxAttempts: 3, DeadLetter: "orders.dead", Publish: p, Backoff: short, Limits: channel.Limits{Body: 8 << 10}}
}
