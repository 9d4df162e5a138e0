package leattest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// An adapterOwner is one call of Claim, whose claims hand their records to the test.
type adapterOwner struct {
	x    *adapterTest
	sub  message.Subscriber
	end  context.CancelFunc // of the context of Claim
	let  chan struct{}      // closed: every own returns
	done chan struct{}      // closed: Claim has returned
	err  error              // what it gave, once done is closed

	in   chan adapterRecord
	once sync.Once

	mu     sync.Mutex
	claims []adapters.Claim
	nexts  []error // what Next gave in the end
}

// An adapterRecord is a record and whose it is.
type adapterRecord struct {
	*adapters.Record

	claim adapters.Claim
}

func (r *adapterRecord) finish() { r.claim.Finish([]*adapters.Record{r.Record}) }
func (r *adapterRecord) back()   { r.claim.Return([]*adapters.Record{r.Record}) }

// claim claims topics for a group, as a process of its own. Its owns read until Next gives an error, and
// then stay until let go.
func (x *adapterTest) claim(group string, topics ...string) *adapterOwner {
	x.Helper()
	sub := x.subscriber(AdapterReader{Group: group})
	o := x.owner(sub)
	o.run(func(ctx context.Context) error { return x.claims(sub).Claim(ctx, topics, o.own) })
	return o
}

func (x *adapterTest) claims(sub message.Subscriber) adapters.Claims {
	c, ok := adapters.As[adapters.Claims](sub)
	if !ok {
		x.Error("one Subscriber hands over Claims, and another does not")
	}
	return c
}

func (x *adapterTest) owner(sub message.Subscriber) *adapterOwner {
	o := &adapterOwner{x: x, sub: sub, let: make(chan struct{}), done: make(chan struct{}), in: make(chan adapterRecord)}
	x.Cleanup(func() {
		o.letGo()
		<-o.done
	})
	return o
}

func (o *adapterOwner) run(claim func(ctx context.Context) error) {
	ctx, end := context.WithCancel(context.WithoutCancel(o.x.Context()))
	o.end = end
	go func() {
		defer close(o.done)
		o.err = claim(ctx)
	}()
}

func (o *adapterOwner) own(c adapters.Claim) {
	o.mu.Lock()
	o.claims = append(o.claims, c)
	o.mu.Unlock()
	defer func() { <-o.let }()
	for {
		rs, err := c.Next(make([]*adapters.Record, 0, 16))
		for i := range rs {
			select {
			case o.in <- adapterRecord{rs[i], c}:
			case <-o.let:
			}
		}
		if err != nil {
			o.mu.Lock()
			o.nexts = append(o.nexts, err)
			o.mu.Unlock()
			return
		}
	}
}

// next waits for a record.
func (o *adapterOwner) next(what string) adapterRecord {
	o.x.Helper()
	timer := time.NewTimer(o.x.spec.Patience)
	defer timer.Stop()
	select {
	case r := <-o.in:
		return r
	case <-o.done:
		o.x.Fatalf("waiting for %s: Claim has returned: %v", what, o.err)
	case <-timer.C:
		o.x.Fatalf("after %v: no %s", o.x.spec.Patience, what)
	}
	return adapterRecord{}
}

func (o *adapterOwner) take(n int, what string) (rs []adapterRecord) {
	o.x.Helper()
	for range n {
		rs = append(rs, o.next(what))
	}
	return rs
}

// nothing watches that no record comes.
func (o *adapterOwner) nothing(why string) {
	o.x.Helper()
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	select {
	case r := <-o.in:
		o.x.Fatalf("%s is given out while %s", r.ID, why)
	case <-timer.C:
	}
}

// through finishes what comes until every id has come, and gives all that came.
func (o *adapterOwner) through(ids ...string) (got []string) {
	o.x.Helper()
	ids = slices.Clone(ids)
	for len(ids) > 0 {
		r := o.next("record " + few(ids))
		got = append(got, r.ID)
		if len(got) > endless {
			o.x.Fatalf("after %d deliveries, the last of %s: still not %s", len(got), got[len(got)-1], few(ids))
		}
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == r.ID })
		r.finish()
	}
	return got
}

// readers waits until every Next has given its error, and gives them.
func (o *adapterOwner) readers() []error {
	o.x.Helper()
	var errs []error
	o.x.await("seen Next end for every claim", func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		errs = slices.Clone(o.nexts)
		return len(o.nexts) == len(o.claims)
	})
	return errs
}

func (o *adapterOwner) owned() []adapters.Claim {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.claims)
}

func (o *adapterOwner) letGo() {
	o.once.Do(func() { close(o.let) })
	o.end()
}

// leave ends the context, has every own return, and waits for Claim, which must give nil.
func (o *adapterOwner) leave() {
	o.x.Helper()
	o.end()
	o.readers()
	o.letGo()
	o.x.ended("returned from Claim", o.done)
	if o.err != nil {
		o.x.Errorf("Claim, whose context ended, gives %v; want nil", o.err)
	}
}
