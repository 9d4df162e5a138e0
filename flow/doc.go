// Package flow declares, checks, draws and runs blocks over channels: Pipes and Filters.
//
// How can complex processing stay in independent steps? Connect them by channels.
//
//	f, err := flow.New("orders",
//		flow.Step("by-region", Incoming, router.Content(router.When("eu", inEurope, EU))),
//		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
//		flow.Policy{Attempts: 3, DeadLetter: "orders.dead"})
//	err = f.Run(ctx, pub, sub) // or f.AddTo(router, pub, sub)
//
// Delivery: a message is acknowledged after everything it caused is published and settled; what fails is
// tried again by its [Policy], then goes to the dead letter. Concurrency: messages of a key follow each
// other, others run side by side ([Workers]); one without a key that waits is overtaken. State: in the
// stores of blocks, under "flow/step". Around a block stand, from outside: engine, the flow's
// interceptors, the step's.
package flow
