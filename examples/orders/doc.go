// Orders is the book's order processing (Widgets and Gadgets 'R Us): every order is checked and split into
// lines, each line is booked with the inventory that has its item, and the answers are put together again.
//
//	                                          ╔═▶ widget-inventory ─┐                           ┌─▶ confirm
//	orders.new ─▶ check ─▶ split ─▶ by-item ══╬═▶ gadget-inventory ─┼─▶ assemble ─▶ by-outcome ─┼─▶ back-order
//	                │                  ╎      ╚═▶ invalid-item ─────┘                           └─▶ refuse
//	                └─▶ return         └╌▶ orders.dead ╌▶ repaired, and put back
//
//	go run ./examples/orders                 eight orders that are built in
//	go run ./examples/orders -orders FILE    yours: {"id": "1", "lines": [{"item": "W1", "quantity": 2}]}
//	go run ./examples/orders -trace          where each of them went, as a tree
//	go run ./examples/orders -graph          the flow, drawn
//
// The gadget inventory is slow to answer for one item: such a line is tried again. Its record of another is
// broken: such a line is in the dead letter at once, and its order waits until the record is repaired and
// the line is put back.
//
// Read package domain first, which knows nothing of messaging, then pipeline.go: that is the whole flow.
// shop.go runs it on a broker in memory, with somebody who reads the dead letters; ledger.go knows where
// every order is; run.go is the program around it, and trace.go draws.
package main
