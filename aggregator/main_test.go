package aggregator

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/channel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type line struct {
	Order string
	SKU   string
	Last  bool
}

type order struct {
	ID   string
	SKUs []string
}

func pack(key string, ls []line) (order, error) {
	o := order{ID: key}
	for _, l := range ls {
		o.SKUs = append(o.SKUs, l.SKU)
	}
	return o, nil
}

const packed channel.Topic[order] = "packed"

func byOrder(l line) string { return l.Order }

// packer completes orders of three lines.
func packer(s Store) *Aggregator[line, order] {
	return &Aggregator[line, order]{Correlate: byOrder, Combine: pack, To: packed, Size: 3, Store: s}
}

// process hands one line to a block as a driver does.
func process(a channel.Processor[line], scope, id string, l line, headers ...channel.Field) (channel.Result, error) {
	var e channel.Envelope
	e.Arrive(&channel.Arrival{
		Context: context.Background(), Topic: "lines", Scope: scope, ID: id, Headers: channel.Fields(headers), Body: l, HasBody: true,
	})
	e.SetAttempt(1)
	var r channel.Result
	err := channel.Erase(a)(&e, &r)
	return r, err
}

// settle ends a result as a driver does.
func settle(t *testing.T, r channel.Result, why error) {
	t.Helper()
	if f := r.Settler(); f != nil {
		if err := f(context.Background(), why); err != nil {
			t.Fatalf("settle(%v): %v", why, err)
		}
	}
}
