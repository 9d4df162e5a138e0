// Package leattest tests what is built with Leat, or for it.
//
// How do you know that a flow does what it should? Run it without a broker, in virtual time, where an
// hour takes none:
//
//	leattest.Run(t, f, func(k *leattest.Kit) {
//		leattest.Send(k, Incoming, "1", Order{Region: "EU"})
//		k.Wait(time.Hour)
//		invoices := leattest.Got(k, Invoices)
//	})
//
// How do you know that it loses nothing? Have a [Simulation] kill its processes before or after any
// effect they have, and keep the books in a [Ledger]. A seed chooses what happens, and names one history.
//
// How do you know that of a store of your own? Run the suite that the project's own stores pass:
//
//	leattest.IdempotencyStore(t, func(t *testing.T) idempotency.Store { return NewMyStore(t) })
//
// Tests of faults take other seeds each time. LEAT_SEEDS says how many, and LEAT_SEED that it is this
// one: a test that fails prints it.
package leattest
