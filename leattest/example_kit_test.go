package leattest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/translator"
)

type invoice struct {
	Order string
	Lines int
}

const invoices channel.Topic[invoice] = "invoices"

// An order without lines cannot be invoiced.
func toInvoice(o order) (invoice, error) {
	if len(o.Lines) == 0 {
		return invoice{}, errors.New("order has no lines")
	}
	return invoice{Order: o.ID, Lines: len(o.Lines)}, nil
}

func ExampleRun() {
	f, err := flow.New("orders",
		flow.Step("invoice", orders, translator.Map(toInvoice, invoices)),
		flow.Policy{Attempts: 3, Backoff: flow.Fixed(time.Minute), DeadLetter: "orders.dead"},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	t := new(testing.T) // a test has one
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, orders, "1", order{ID: "A", Lines: []string{"nut", "bolt"}})
		leattest.Send(k, orders, "2", order{ID: "B"})
		fmt.Println(leattest.Got(k, invoices))

		k.Wait(2 * time.Minute) // for the retries
		for _, l := range k.Dead() {
			fmt.Println(l.ID, l.Step, l.Error)
		}
		fmt.Println(k.Counts()["invoice"])
	})
	// Output:
	// [{A 2}]
	// 2 invoice order has no lines
	// received=2 sent=1 dead=1 retries=2
}
