// Package channel is the vocabulary of Leat: messages, where they go, what they come to.
//
// How do applications communicate by messaging? Over channels: addresses that know what travels there.
//
//	const Orders channel.Topic[Order] = "orders"
//
// A block, a [Processor], gets a [Message] and returns a [Result]: everything the message causes, before
// anything is published. Its [Shape] declares where it may send to. An [Interceptor] stands around it.
// Users of ready-made blocks need [Topic] and little else: see package flow.
//
// Delivery: what a result sends is published before the message is acknowledged; nothing is dropped
// without [Drop]. Concurrency: blocks are called by many goroutines at once. State: none here.
package channel
