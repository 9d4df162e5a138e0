package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// What the rows in the process are about.
type (
	order struct {
		ID, Region string
		Total      int
	}
	invoice struct {
		ID    string
		Cents int
	}
	line struct {
		Order string
		N     int
	}
	cart struct {
		ID    string
		Lines []line
	}
	packed struct {
		ID string
		N  int
	}
)

func from(region string) func(*order) bool {
	return func(o *order) bool { return o.Region == region }
}

// A tally is where the work ends: it counts what comes out. One goroutine at a time.
type tally struct{ n int64 }

func (t *tally) count() int64 { return t.n }

// one counts a body as one.
func one[T any](t *tally) func(context.Context, T) error {
	return func(context.Context, T) error {
		t.n++
		return nil
	}
}

// all counts a pack as what is in it.
func all(t *tally) func(context.Context, packed) error {
	return func(_ context.Context, p packed) error {
		t.n += int64(p.N)
		return nil
	}
}

// inProcess starts a flow of direct hops with a way in for bodies, and feeds it from one goroutine: next
// gives the i-th body and its id. Its broker is for the dead letters, of which there are none.
func inProcess[T any](ctx context.Context, in channel.Topic[T], t *tally, next func(i int) (id string, body T), parts ...flow.Part) (measure.Load, error) {
	f, err := flow.New("bench", append(parts, flow.Policy{DeadLetter: "dead"})...)
	if err != nil {
		return measure.Load{}, err
	}
	broker := &memory.Broker{}
	h, err := f.Start(ctx, broker.Publisher(), nil)
	if err != nil {
		return measure.Load{Close: broker.Close}, err
	}
	l := measure.Load{Done: t.count, Close: func() error {
		h.Stop()
		return broker.Close()
	}}
	feed, err := flow.Into(h, in)
	i := 0
	l.Run = func(ctx context.Context, n int) error {
		for range n {
			id, body := next(i)
			i++
			if err := feed(ctx, id, body); err != nil {
				return err
			}
		}
		return nil
	}
	return l, err
}

// byHand is a loop: do is called n times, with numbers that go on from call to call.
func byHand(t *tally, do func(ctx context.Context, n, first int) error) (measure.Load, error) {
	next := 0
	return measure.Load{Done: t.count, Run: func(ctx context.Context, n int) error {
		err := do(ctx, n, next)
		next += n
		return err
	}}, nil
}

const million = 1_000_000

// identities are ids in their text form, made when first asked for. They lie in one string, so that the
// garbage collector has nothing to look at.
type identities struct {
	n    int
	once sync.Once
	text string
}

// get gives the i-th id; from n on they begin anew.
func (ids *identities) get() func(i int) string {
	const size = 36
	ids.once.Do(func() {
		random := rand.New(rand.NewPCG(1, 2))
		b := make([]byte, 0, ids.n*size)
		for range ids.n {
			high, low := random.Uint64(), random.Uint64()
			b = fmt.Appendf(b, "%08x-%04x-4%03x-8%03x-%012x", high>>32, high>>16&0xffff, high&0xfff, low>>48&0xfff, low&0xffffffffffff)
		}
		ids.text = string(b)
	})
	text, n := ids.text, ids.n
	return func(i int) string {
		i = i % n * size
		return text[i : i+size]
	}
}
