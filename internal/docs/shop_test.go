package docs

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// The domain of the flows that the pages show: plain types, plain functions.

type Order struct {
	ID, Region string
	Lines      []string
}

type Line struct{ Order, Article string }

type Parcel struct {
	Order    string
	Articles []string
}

type Invoice struct {
	Order string
	Cents int
}

type Payment struct{ Cents int }

const (
	Incoming channel.Topic[Order]   = "orders"
	EU       channel.Topic[Order]   = "orders.eu"
	US       channel.Topic[Order]   = "orders.us"
	Rest     channel.Topic[Order]   = "orders.rest"
	Lines    channel.Topic[Line]    = "lines"
	Parcels  channel.Topic[Parcel]  = "parcels"
	Invoices channel.Topic[Invoice] = "invoices"
	Payments channel.Topic[Payment] = "payments"
)

func from(region string) func(Order) bool { return func(o Order) bool { return o.Region == region } }

var errEmpty = errors.New("order has no lines")

func toInvoice(o Order) (Invoice, error) {
	if len(o.Lines) == 0 {
		return Invoice{}, errEmpty
	}
	return Invoice{Order: o.ID, Cents: 100 * len(o.Lines)}, nil
}

func toLines(o Order) (lines []Line) {
	for _, a := range o.Lines {
		lines = append(lines, Line{o.ID, a})
	}
	return lines
}

func pack(order string, lines []Line) (Parcel, error) {
	p := Parcel{Order: order}
	for _, l := range lines {
		p.Articles = append(p.Articles, l.Article)
	}
	return p, nil
}

func ship(_ context.Context, o Order) error {
	fmt.Println("shipped", o.ID)
	return nil
}

func mail(_ context.Context, i Invoice) error {
	fmt.Println("invoice for", i.Order, "of", i.Cents, "cents")
	return nil
}

func charge(_ context.Context, p Payment) error {
	fmt.Println("charged", p.Cents)
	return nil
}

// traces is told of the spans of a flow that run has run: see TestPagesSayWhatTracesSay.
var traces func([]leattest.Span)

// run runs a flow without a broker, in virtual time: leattest.Run, for an example, which has no test.
func run(declare func() (*flow.Flow, error), test func(k *leattest.Kit)) {
	f, err := declare()
	if err != nil {
		fmt.Println(err)
		return
	}
	t := new(testing.T)
	leattest.Run(t, f, func(k *leattest.Kit) {
		test(k)
		if traces != nil {
			k.Drain()
			traces(k.Traces.Spans())
		}
	})
	if t.Failed() {
		fmt.Println("the test failed")
	}
}
