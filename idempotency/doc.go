// Package idempotency is the Idempotent Receiver: it keeps what has been done with a message from being
// done again.
//
// How can a receiver deal with a message that arrives twice? By remembering the ids of those it has
// finished, and by letting one at a time work on an id.
//
//	            +-- done before ---------> dropped, "duplicate"
//	message ----+-- running elsewhere ---> later, not counted
//	(scope, id) +-- same id, other bytes > dead letter
//	            +-- new -----------------> the block -> publish -> mark
//
// In a flow it stands around a step:
//
//	flow.Around(idempotency.Receiver{Store: seen})
//
// In a plain Watermill router it is a middleware, see [Receiver.Middleware].
//
// # What it promises, and what not
//
// An id is marked only after everything its message caused has been published. A process that dies
// marks nothing; its claim runs out with its lease, and the message is worked on again. So:
//
//   - No message is lost to a mark that came too early.
//   - Without a crash, and with a store that works, each id has its effect once.
//   - A crash between the effect and the mark repeats the effect of the messages that were in flight,
//     once for each crash. Such a run is flagged: [Claim.Again]. A lease cannot do better.
//
// No repeated effect at all needs one of these: the effect and the mark are written in one transaction
// of one store; or the whole step runs in the broker's own transaction; or whoever carries the effect
// out refuses a token smaller than one it has seen ([ClaimOf], [Claim.Token]).
//
// Not promised: marks that a store loses (a failover, a power cut, the memory store's process), and
// leases across hosts whose clocks run at different speeds.
//
// Delivery: duplicates are dropped, counted under [Duplicate]; a store that cannot be asked makes the
// message wait, never pass. Concurrency: everything here is safe for concurrent use. State: in a
// [Store], under the scope "flow/step"; two scopes never meet.
package idempotency
