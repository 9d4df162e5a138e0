// Package channel is the vocabulary of Leat: messages, where they go, and what they come to.
//
// How does one application communicate with another by messaging? Over a channel: an address that
// knows what travels there.
//
//	const Orders channel.Topic[Order] = "orders"
//
// A block is a [Processor]: it gets a [Message] and returns a [Result], which says everything the
// message causes before anything is published.
//
//	func (b Discount) Process(m channel.Message[Order]) (channel.Result, error) {
//		if m.Body.Total < 100 {
//			return channel.Send(channel.Forward(Small, m)), nil
//		}
//		return channel.Send(channel.To(Large, b.apply(m.Body))), nil
//	}
//
// Its [Shape] declares where it may send to and which other ways in it has. An [Interceptor] stands
// around a block. Users of ready-made blocks need [Topic] and little else; see package flow.
//
// Delivery: what a result sends is published before the message is acknowledged; nothing is dropped
// without [Drop]. Concurrency: blocks are called by many goroutines at once. State: none here.
package channel
