// Package subscription makes plain Watermill subscriptions of adapters.Claims: for each claim that an
// adapter comes to own it calls Deliver, and closes the channel when all have returned.
//
// How does a consumer use a Message Channel that hands over whole partitions, when all it knows is one
// message with an Ack and a Nack? By a loop that keeps a line of records for each lane, offers the first of a line while
// none of it is in flight, and finds out by itself which are acknowledged.
//
//	claim ──Next──▶ reader ──run──▶ loop: a line for each lane of keys, one for no key, one for what is no message
//	                                 ├─▶ offer ─▶ a reader's loop ─Ack─▶ looked at, with the next offer ─▶ Finish
//	                                 └─▶ worker: waits for what takes longer, pauses after a nack, or publishes the
//	                                     dead letter ─▶ reports to the loop ─▶ Finish, or to the front of its line again
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
// The loop owns the lines; others leave it mail. A message costs no goroutine if it is acknowledged by the time the loop has
// nothing more to offer, or within two milliseconds while what it offers is not taken: see TestNobodyTakes. Else
// it has one until it is settled. All end before Deliver returns. How many records wait in memory is bounded by the claim's own
// window. Acknowledgements that come together go to the claim together: TestFinishTogether.
package subscription
