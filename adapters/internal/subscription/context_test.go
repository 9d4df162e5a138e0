package subscription

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/lazy"
)

// values is a native record that has values for the message's context.
type values map[any]any

func (v values) Value(key any) any { return v[key] }

// A context has the values of the native record, of the record and of the subscription, the first that
// has one, whether or not somebody waits for it.
func TestContextValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := rec("1")
		ctx := context.WithValue(context.Background(), keyOf("record"), "of the record")
		ctx = context.WithValue(ctx, keyOf("native"), "of the record")
		deadline := time.Now().Add(day)
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		rs[0].Context, rs[0].Native = ctx, values{keyOf("native"): "of the client"}
		r := deliver(t, Config{}, claimOf(adapters.Ordered, rs...))
		m := r.next(t, "1")
		check := func() {
			for key, want := range map[keyOf]any{
				"native": "of the client", "record": "of the record", "subscription": "of the subscription", "none": nil,
			} {
				if got := m.Context().Value(key); got != want {
					t.Errorf("value %s is %v, want %v", key, got, want)
				}
			}
			if d, ok := m.Context().Deadline(); !ok || !d.Equal(deadline) {
				t.Errorf("deadline is %v", d)
			}
		}
		check()
		child, end := context.WithCancel(m.Context())
		defer end()
		check()
		m.Ack()
		synctest.Wait()
		check()
		if child.Err() == nil || !errors.Is(context.Cause(child), context.Canceled) {
			t.Errorf("a child of it ends with %v", context.Cause(child))
		}
	})
}

// It ends once, with the first cause, however it is asked; the end of the subscription is none.
func TestContextEnds(t *testing.T) {
	errEarly := errors.New("early")
	for _, c := range []struct {
		name string
		end  func(of context.CancelCauseFunc, x *messageContext)
		want error
	}{
		{"settled", func(_ context.CancelCauseFunc, x *messageContext) { x.End(nil) }, context.Canceled},
		{"taken away", func(_ context.CancelCauseFunc, x *messageContext) { x.End(errEarly) }, errEarly},
		{"claim's ends", func(of context.CancelCauseFunc, _ *messageContext) { of(errEarly) }, errEarly},
		{"both", func(of context.CancelCauseFunc, x *messageContext) { of(errEarly); x.End(channel.ErrStopped) }, errEarly},
		{"nothing", func(context.CancelCauseFunc, *messageContext) {}, nil},
	} {
		for _, asked := range []bool{false, true} {
			base, of := context.WithCancelCause(context.Background())
			sub, stop := context.WithCancel(context.Background())
			x := &messageContext{Context: lazy.Context{Context: base}, subscription: context.WithoutCancel(sub)}
			if asked {
				x.Done()
			}
			stop()
			c.end(of, x)
			if cause := context.Cause(x); !errors.Is(cause, c.want) || (x.Err() != nil) != (c.want != nil) {
				t.Errorf("%s: ended with %v, %v, want %v", c.name, x.Err(), cause, c.want)
			}
			select {
			case <-x.Done():
				if c.want == nil {
					t.Errorf("%s: it is done", c.name)
				}
			default:
				if c.want != nil {
					t.Errorf("%s: it is not done", c.name)
				}
			}
			of(nil)
		}
	}
}

// Whoever asks while it ends is told.
func TestContextIsSafe(*testing.T) {
	base, of := context.WithCancelCause(context.Background())
	defer of(nil)
	for range 200 {
		x := &messageContext{Context: lazy.Context{Context: base}, subscription: context.Background()}
		var all sync.WaitGroup
		all.Go(func() { <-x.Done() })
		all.Go(func() {
			child, end := context.WithCancel(x)
			defer end()
			<-child.Done()
		})
		all.Go(func() { x.End(nil) })
		all.Go(func() { _, _ = x.Err(), x.Value(keyOf("x")) })
		all.Wait()
	}
}
