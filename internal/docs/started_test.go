package docs

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

func TestOrdersAreInvoiced(t *testing.T) {
	f, err := flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Policy{Attempts: 3, Backoff: flow.Fixed(time.Minute), DeadLetter: "orders.dead"})
	if err != nil {
		t.Fatal(err)
	}
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Lines: []string{"tea"}})
		leattest.Send(k, Incoming, "2", Order{ID: "B"}) // without lines: it cannot be invoiced
		if got := leattest.Got(k, Invoices); !slices.Equal(got, []Invoice{{Order: "A", Cents: 100}}) {
			t.Errorf("invoices %v", got)
		}
		k.Wait(2 * time.Minute) // for the retries; it takes no time
		if letters := k.Dead(); len(letters) != 1 || letters[0].ID != "2" || letters[0].Step != "invoice" {
			t.Errorf("dead letters %v", letters)
		}
	})
}

// A block alone needs no broker and no double: what it would send is a value.
func TestByRegion(t *testing.T) {
	byRegion := router.Content(router.When("eu", from("EU"), EU), router.Otherwise(Rest))
	for region, want := range map[string]channel.Topic[Order]{"EU": EU, "Mars": Rest} {
		r, err := byRegion.Process(channel.NewMessage("1", Order{Region: region}, channel.HeaderKey, "customer-7"))
		if err != nil || r.Len() != 1 || r.At(0).Topic() != string(want) {
			t.Errorf("%s goes to %s, error %v", region, r.At(0).Topic(), err)
		}
	}
}

// A store of your own passes the suite that the project's own stores pass.
func TestMyStoreConforms(t *testing.T) {
	leattest.IdempotencyStore(t, func(*testing.T) idempotency.Store {
		return &idempotency.Memory{} // NewMyStore(t)
	})
}

// Every arrow of the drawing is walked by some trace: orders that are invoiced and mailed, and one that
// dies.
func TestEveryArrowIsWalked(t *testing.T) {
	f, err := flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Step("mail", Invoices, endpoint.Do(func(_ context.Context, i Invoice) error {
			if i.Cents > 300 {
				return channel.Permanent(errors.New("too much to be true"))
			}
			return nil
		})),
		flow.Policy{Attempts: 1, DeadLetter: "orders.dead"})
	if err != nil {
		t.Fatal(err)
	}
	leattest.Run(t, f, func(k *leattest.Kit) {
		for id, lines := range [][]string{{"tea"}, {}, {"tea", "milk", "cup", "spoon"}} {
			leattest.Send(k, Incoming, strconv.Itoa(id), Order{ID: "A", Lines: lines})
		}
		if n := len(k.Dead()); n != 2 {
			t.Errorf("%d dead letters, want 2", n)
		}
		k.Traces.Covers(t, f)
	})
}
