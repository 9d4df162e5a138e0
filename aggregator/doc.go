// Package aggregator makes one message of many that belong together.
//
// How do we combine the results of individual, but related, messages so that they can be processed as a
// whole? Keep them by what they have in common until the group is complete, then send one message.
//
//	line 1 ─┐
//	line 2 ─┼─▶ [ Aggregator ] ─▶ order
//	line 3 ─┘        │ ▲
//	               [ Store ] ◀─ clock
//
//	pack := &aggregator.Aggregator[Line, Order]{
//		Correlate: func(l Line) string { return l.OrderID },
//		Combine:   pack, // func(key string, lines []Line) (Order, error)
//		To:        Packed, Size: 3, Timeout: 30 * time.Second,
//		Store:     &aggregator.Memory{},
//	}
//
// Delivery: a member is acknowledged when the store has it, the last one when its group is published and
// gone from the store. A crash in between releases the group again, by whomever: the same members under
// the same id. Ids of released members are remembered, so that a redelivery opens no second group.
// Nothing is dropped but duplicates, by name.
//
// Concurrency: blocks and stores are safe for concurrent use; of many that complete one group, one
// releases it. A claim has a lease; a late owner is refused by a fencing token.
//
// State: in the [Store], by "flow/step". [Memory] loses open groups with the process.
package aggregator
