// Package flow declares, checks, draws and runs a graph of blocks over channels: Pipes and Filters.
//
// How can an application perform complex processing on a message while staying independent and
// flexible? Divide it into steps, connected by channels.
//
//	orders.incoming ──▶ by-region ──▶ orders.eu ──▶ invoice ──▶ invoices
//	                        └───────▶ orders.us ──▶ …
//
//	f, err := flow.New("orders",
//		flow.Step("by-region", Incoming, router.Content(
//			router.When("eu", inEurope, EU),
//			router.When("us", inAmerica, US),
//		)),
//		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
//		flow.Policy{Attempts: 3, DeadLetter: "orders.dead"},
//	)
//	if err != nil {
//		return err // every mistake of every step, by name
//	}
//	err = f.Run(ctx, pub, sub) // or f.AddTo(router, pub, sub)
//
// Delivery: a message is acknowledged after everything it caused is published and settled. What fails
// is tried again as [Policy] says, then goes to the dead letter; only the flow retries. Around a step
// stand, from outside: the engine (panic, expiry, attempts, publish, dead letter), the flow's
// interceptors, the step's, the block.
//
// Concurrency: messages of one key follow each other through a step, others run side by side (see
// [Workers]). A message without a key that waits for a retry holds up nobody, so others overtake it.
//
// State: none; it is in the stores that blocks are given, under the scope "flow/step". A renamed flow
// or step is a new scope; [Scope] and [Group] pin the old one.
package flow
