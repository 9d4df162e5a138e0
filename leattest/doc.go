// Package leattest tests what is built with Leat, or for it.
//
// How do you know that a store of your own loses nothing? Run the suite that the project's own stores
// pass.
//
//	leattest.IdempotencyStore(t, func(t *testing.T) idempotency.Store { return NewMyStore(t) })
//
// Tests of faults log their seed; set LEAT_SEED to it to have the same faults again.
package leattest
