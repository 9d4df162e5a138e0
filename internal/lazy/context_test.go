package lazy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/leat-go/leat/internal/lazy"
)

var errWhy = errors.New("why")

type key struct{}

// Whoever waits for it or not, and from whenever on, it is a context like the standard library's. Breaks if what
// somebody makes of it afterwards does not end, or a cause is lost.
func TestContext(t *testing.T) {
	ask := map[string]func(context.Context){
		"nobody waits":  func(context.Context) {},
		"somebody does": func(ctx context.Context) { ctx.Done() },
	}
	ends := map[string]struct {
		end  func(c *lazy.Context, cancel context.CancelCauseFunc)
		want error
	}{
		"by End":          {func(c *lazy.Context, _ context.CancelCauseFunc) { c.End(nil) }, context.Canceled},
		"with a cause":    {func(c *lazy.Context, _ context.CancelCauseFunc) { c.End(errWhy) }, errWhy},
		"with its parent": {func(_ *lazy.Context, cancel context.CancelCauseFunc) { cancel(errWhy) }, errWhy},
		"twice":           {func(c *lazy.Context, _ context.CancelCauseFunc) { c.End(errWhy); c.End(nil) }, errWhy},
	}
	for who, asked := range ask {
		for how, x := range ends {
			t.Run(who+", "+how, func(t *testing.T) {
				parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
				c := &lazy.Context{Context: parent}
				asked(c)
				if lazy.In(parent) || !lazy.In(c) || !lazy.In(context.WithValue(c, key{}, "value")) {
					t.Error("it is not known for what it is")
				}
				if c.Err() != nil || c.Value(key{}) != "value" {
					t.Fatalf("at first: %v, value %v", c.Err(), c.Value(key{}))
				}
				x.end(c, cancel)
				if err := c.Err(); !errors.Is(err, context.Canceled) {
					t.Errorf("Err gives %v", err)
				}
				if got := context.Cause(c); !errors.Is(got, x.want) {
					t.Errorf("the cause is %v, want %v", got, x.want)
				}
				child, stop := context.WithCancel(c)
				defer stop()
				<-c.Done()
				<-child.Done()
				if c.Value(key{}) != "value" {
					t.Errorf("the value is %v", c.Value(key{}))
				}
			})
		}
	}
}
