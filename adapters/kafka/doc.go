// Package kafka is a Watermill Publisher and Subscriber on Kafka: batches, a window of messages in flight,
// order by key, transactions.
//
// How does an application reach a log of partitions that many processes share, so that nothing is lost when
// one of them dies? Through a Channel Adapter that commits a message only when everything before it on its
// partition is finished too.
//
//	cluster := kafka.Cluster{Brokers: []string{"127.0.0.1:9092"}}
//	pub, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: cluster})
//	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: cluster, Group: "billing"})
//
//	publisher ──▶ partition 0 ──▶ window ──▶ lanes by key ──▶ handlers     committed: the prefix that is
//	          └─▶ partition 1 ──▶ window ──▶ lanes by key ──▶ handlers     finished without a gap
//
// docs/adapters/kafka.md has every setting and its default, what the log says, and what to do at night.
//
// # Delivery
//
// At least once. Publish returns when all replicas in sync have the message, or with an error that says for
// each message whether it failed or nobody knows ([ErrUnknown]). Offsets are committed contiguously, so a crash
// repeats at most SubscriberConfig.Window messages of a partition and loses none. Messages of one key on one
// topic keep the order in which one goroutine sends them; those of one key are never in flight twice. With
// flow.ExactlyOnce outputs and offsets are one transaction ([Publisher.Transact]): readers of committed
// messages see each outcome once.
//
// A record that is no message (beyond the limits, a forged header, a batch that cannot be read) goes to the
// dead letter with the reason, or is parked: it is never dropped.
//
// # Concurrency
//
// Publisher and Subscriber are safe for concurrent use. Nothing connects, and no goroutine starts, before the
// first use; Close waits for all. How many messages of a partition are in flight is said by Order, Lanes and
// Window. Subscriptions made within 50 ms share one member of the group.
//
// # State
//
// On the brokers: topics, and the offsets of groups. In memory: at most WindowBytes of each partition in flight,
// and nearly as many waiting. A Subscriber without a group remembers nothing.
package kafka
