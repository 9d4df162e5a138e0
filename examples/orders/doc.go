// Orders is the book's order processing (Widgets and Gadgets 'R Us): every order is checked and split into
// lines, each line is booked with the inventory that has its item, and the answers are put together again.
//
//	             invalid ◀┐                  ┌▶ widget-inventory ─┐                          ┌▶ confirm
//	                      │                  ├▶ gadget-inventory ─┤                          ├▶ back-order
//	orders.new ──▶ check ─┴▶ split ─▶ by-item┴▶ invalid-item ─────┴▶ assemble ─▶ by-outcome ─┴▶ refuse
//
//	go run ./examples/orders                 eight orders that are built in
//	go run ./examples/orders -orders FILE    yours: {"id": "1", "lines": [{"item": "W1", "quantity": 2}]}
//	go run ./examples/orders -graph          the flow, drawn
//
// One inventory is slow to answer: such a line is tried again. One of its records is broken: such a line is
// in the dead letter at once and its order waits, until the record is repaired and the line put back.
//
// Read package domain first, which knows nothing of messaging, then pipeline.go: that is the whole flow.
// shop.go runs it on a broker in memory, with somebody who reads the dead letters; ledger.go knows where
// every order is; run.go is the program around it.
package main
