// Package faults holds no code, only tests: what must be true after each fault.
//
// What becomes of a message when something breaks beside it? Nothing else may: it is not lost, its
// effect is not repeated, its key keeps its order.
//
//	seed ──▶ world: broker, stores, one process or two ──▶ faults ──▶ rest ──▶ ledger: all zero
//
// Each test runs many seeds, in virtual time and in memory. A seed chooses the messages, the driver of
// the flow, how many processes and workers there are, and which calls fail, before or after their
// effect. A run that fails names its seed.
//
//	LEAT_SEEDS=5000 go test -race ./leattest/faults/           more seeds; the default is 200
//	LEAT_SEED=17 go test -race -run F23 ./leattest/faults/     this one again
//
// A seed names every choice, not how goroutines are scheduled: a failure that is a race may need
// several runs of its seed.
//
// A TestF…CanFail takes out the protection that its fault test relies on and wants the ledger to notice.
package faults
