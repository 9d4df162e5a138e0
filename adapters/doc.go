// Package adapters is for authors of adapters: what a Pub/Sub may offer beyond Watermill's Publisher
// and Subscriber.
//
// How does an application reach the messaging system? Through a Channel Adapter. Any Watermill
// Publisher and Subscriber will do, with a router or with a flow. One that also implements the
// interfaces of this package is used better, and a flow finds them by itself with [As]:
//
//	[Grouper]         a step gets a consumer group of its own
//	[Claims]          the flow reads in runs, owns lanes and order, acknowledges by prefix
//	[BatchPublisher]  the flow publishes in batches and waits for none
//	[Transactor]      what a message caused and its acknowledgement are one transaction
//	[Transactable]    a subscriber that is set up otherwise is refused for that
//	[Follower]        every instance of a flow sees a topic from its start
//	[Topics]          missing topics are made, or named, when the flow starts
//
// Users need none of this. The adapters themselves are the packages below.
package adapters
