// Package memory is a broker in the process: topics, consumer groups, back-pressure and redelivery
// without a server. What is on it is lost when the process ends.
//
// How do the parts of one application, or its tests, talk by messaging before there is a broker?
// Over one that lives in memory and keeps the promises of the real ones.
//
//	broker := &memory.Broker{}
//	pub, sub := broker.Publisher(), broker.Subscriber("billing")
//
//	publisher ──▶ topic (a log) ──▶ group "billing"  ──▶ lanes by key ──▶ members
//	                           └──▶ group "shipping" ──▶ lanes by key ──▶ members
//
// Delivery: at least once. A record leaves the broker when every group of its topic has acknowledged
// it; a topic without a group keeps what is published until one appears. A nacked record comes again
// before what follows it in its lane. Nothing is dropped: a topic that is full has its publishers
// wait.
//
// Concurrency: a Broker and its ends are safe for concurrent use. How many messages of a topic are in
// flight at once is what Broker.Order says; a lane with records in flight belongs to the member that
// has them, and other members take other lanes.
//
// State: in memory, bounded by Broker.Bound messages per topic and group.
package memory
