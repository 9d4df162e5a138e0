package idempotency_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

// Around a step: the payment arrives twice, and is charged once.
func ExampleReceiver_flow() {
	charge := func(_ context.Context, cents int) error {
		fmt.Println("charged", cents)
		return nil
	}
	f, err := flow.New("shop",
		flow.Step("charge", "payments", endpoint.Do(charge),
			flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}})),
		flow.Policy{DeadLetter: "payments.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	t := new(testing.T) // a test has one
	leattest.Run(t, f, func(k *leattest.Kit) {
		for range 2 {
			leattest.Send(k, "payments", "payment-1", 250)
		}
		fmt.Println(k.Counts()["charge"])
	})
	// Output:
	// charged 250
	// received=2 done=1 dropped(duplicate)=1
}
