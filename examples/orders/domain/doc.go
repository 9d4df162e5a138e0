// Package domain is what the orders example is about: orders for widgets and gadgets, two inventories, and
// what an order comes to. It is plain Go and knows nothing of messaging: the flow around it is wiring.
//
//	line of JSON -> Parse -> Order -> Check -> Split -> Line -> Inventory.Book -> Answer -> Combine -> Outcome
//
// Everything is safe for concurrent use and may be asked again: a line is booked once, however often.
package domain
