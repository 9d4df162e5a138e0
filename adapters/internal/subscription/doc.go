// Package subscription makes plain Watermill subscriptions of adapters.Claims: for each claim that an
// adapter comes to own it calls Deliver, and closes the channel when all have returned.
//
// How does a consumer use a Message Channel that hands over whole partitions, when all it knows is one
// message with an Ack and a Nack? Through lanes: one goroutine for each share of the keys, each with at
// most one message in flight.
//
//	claim ──Next──▶ reader ─┬─▶ lane 0 ──────▶ offer, wait ──Ack──▶ Finish
//	                        ├─▶ lane 1            ▲       └─Nack──▶ pause, and again
//	                        ├─▶ no key: one lane  └── the same record, a fresh message
//	                        └─▶ no message ─────▶ dead letter, or parked
//
// # Delivery
//
// A record is finished when its message is acknowledged, or when its dead letter is published: see
// TestAck, TestDeadLetter. A nacked one comes again after a pause, for ever unless MaxAttempts says
// otherwise: TestNack. What is no message (Record.Err) is never offered, and holds up nobody:
// TestUnreadable, TestParked. After ownership is lost nothing is offered, published or acknowledged:
// TestLost. When reading ends, what is in flight may be acknowledged for Drain, and the rest is
// returned, in order: TestDrain.
//
// # Concurrency
//
// Goroutines start when they are first needed and end before Deliver returns; none starts for a message
// once there are as many as have been needed at once. How many records wait in memory is bounded by the
// claim's own window. Acknowledgements that coincide go to the claim together, and wait for no other:
// TestFinishTogether.
package subscription
