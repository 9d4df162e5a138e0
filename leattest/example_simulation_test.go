package leattest_test

import (
	"fmt"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

// A payment is taken once, whenever a process dies: the account takes the payment and the message's mark
// in one.
func ExampleSimulation() {
	t := new(testing.T) // a test has one
	for seed := range leattest.Seeds(t, 20) {
		var books leattest.Ledger
		h := leattest.Simulation{Seed: seed}.Run(t, func(w *leattest.World) leattest.Program {
			for i := range 10 {
				id := fmt.Sprint("payment-", i)
				w.Put("payments", id, `100`)
				books.Published(id, "")
			}
			seen := &idempotency.Memory{} // outlives the processes
			taken := map[string]bool{}    // and so does the account
			return func(i *leattest.Instance) (*flow.Flow, error) {
				take := func(m channel.Message[int]) error {
					return i.Do("take "+m.ID(), func() error {
						if !taken[m.ID()] {
							taken[m.ID()] = true
							books.Effect(m.ID())
						}
						return nil
					})
				}
				return flow.New("bank",
					flow.Step("take", "payments", endpoint.DoMessage(take),
						flow.Around(idempotency.Receiver{Store: i.IdempotencyStore(seen)})),
					flow.Policy{DeadLetter: "dead"}, quiet)
			}
		})
		for _, m := range h.World.Log("dead") {
			books.DeadLetter(m.UUID)
		}
		books.Leave(h.Left...)
		books.Check(t, seed)
	}
	fmt.Println("failed:", t.Failed())
	// Output:
	// failed: false
}
