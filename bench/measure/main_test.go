package measure

import (
	"context"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A double counts what is done with it.
type double struct {
	opened, closed, runs int
	messages             []int // of each run
	done                 int64
	units                int // it says it did, a message
	openErr, runErr      error
	order                *[]string // of all who run
}

func (d *double) contestant(name string) Contestant {
	return Contestant{Name: name, Open: func(context.Context) (Load, error) {
		d.opened++
		l := Load{
			Run: func(_ context.Context, n int) error {
				d.runs++
				d.messages = append(d.messages, n)
				d.done += int64(n * max(d.units, 1))
				if d.order != nil {
					*d.order = append(*d.order, name)
				}
				return d.runErr
			},
			Done:  func() int64 { return d.done },
			Close: func() error { d.closed++; return nil },
		}
		return l, d.openErr
	}}
}
