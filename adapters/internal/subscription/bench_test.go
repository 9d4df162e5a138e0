package subscription

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// feed is a claim that costs nothing: n records of some keys.
type feed struct {
	fakeClaim

	keys []string
	n    int
	made []adapters.Record
	free chan struct{} // the window
	tail chan struct{}
}

const benchWindow = 1024

func newFeed(order adapters.Order, keys, n int) *feed {
	f := &feed{keys: []string{""}, n: n, made: make([]adapters.Record, n), free: make(chan struct{}, benchWindow), tail: make(chan struct{})}
	f.order, f.ctx = order, context.Background()
	if keys > 0 {
		f.keys = make([]string, keys)
		for i := range f.keys {
			f.keys[i] = strconv.Itoa(i)
		}
	}
	return f
}

func (f *feed) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	if f.n == 0 {
		<-f.tail
		return run, errClosed
	}
	for len(run) < cap(run) && f.n > 0 {
		if len(run) == 0 {
			f.free <- struct{}{}
		} else {
			select {
			case f.free <- struct{}{}:
			default:
				return run, nil
			}
		}
		f.n--
		r := &f.made[f.n]
		r.ID, r.Key, r.Headers, r.Native = "id", f.keys[f.n%len(f.keys)], benchHeaders, native("x")
		run = append(run, r)
	}
	return run, nil
}

func (f *feed) Finish(rs []*adapters.Record) {
	for range rs {
		<-f.free
	}
}

func (f *feed) Return([]*adapters.Record) {}

var benchHeaders channel.Headers = channel.Fields{{Name: "traceparent", Value: "x"}}

// pump delivers n messages to one reader that acknowledges each.
func pump(order adapters.Order, keys, n int) {
	f, out, done := newFeed(order, keys, n), make(chan *message.Message), make(chan struct{})
	go func() {
		defer close(done)
		(&Config{}).Deliver(context.Background(), f, out)
	}()
	for range n {
		(<-out).Ack()
	}
	close(f.tail)
	<-done
}

// One reader that acknowledges at once, beside a loop that makes the messages and hands them over a
// channel, which is what Watermill asks for at least.
func BenchmarkDeliver(b *testing.B) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		for _, keys := range []int{0, 1000} {
			b.Run(fmt.Sprintf("%v/%d keys", order, keys), func(b *testing.B) {
				b.ReportAllocs()
				pump(order, keys, b.N)
			})
		}
	}
	b.Run("plain loop", func(b *testing.B) {
		b.ReportAllocs()
		out := make(chan *message.Message)
		go func() {
			r := &adapters.Record{ID: "id", Headers: benchHeaders}
			for range b.N {
				m := plain(r)
				out <- m
				<-m.Acked()
			}
		}()
		for range b.N {
			(<-out).Ack()
		}
	})
}

// A delivery costs one allocation beside those of the message: its context. Metadata are another if there
// are any.
func TestAllocations(t *testing.T) {
	const n = 5_000
	r := &adapters.Record{ID: "id", Headers: benchHeaders}
	var m *message.Message
	watermills := testing.AllocsPerRun(100, func() { m = plain(r) })
	_ = m
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		got := testing.AllocsPerRun(1, func() { pump(order, 0, n) }) / n
		if got > watermills+1.5 { // workers start too, once
			t.Errorf("%v: %.2f allocations a message, %.0f of them Watermill's", order, got, watermills)
		}
	}
}
