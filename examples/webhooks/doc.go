// Webhooks turns GitHub webhook events into a digest for each repository: the pipeline of Leat's
// README on real input.
//
//	go run ./examples/webhooks                       a built-in sample
//	go run ./examples/webhooks -input events.jsonl   JSON Lines {"event", "delivery", "payload"}
//	go run ./examples/webhooks -listen :8080         GitHub's own requests
//	go run ./examples/webhooks -broker kafka:        every hop over a Kafka, here one in the process
//
// Over a broker the steps are the same. Topics are made by the adapter; SIGINT ends the input, waits until every
// event has come to its end, and closes. What the steps remember is in memory all the same: after a SIGKILL open
// digests are gone, and events that were delivered before are no duplicates any more.
//
// What an event is, and what is made of it, is in package domain, which knows nothing of messaging.
// Here are the ways in (input.go, http.go), the broker (broker.go), the run around the flow (run.go, rest.go)
// and what it says at the end (summary.go).
package main
