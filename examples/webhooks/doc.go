// Webhooks turns GitHub webhook events into a digest for each repository: the pipeline of Leat's
// README on real input.
//
//	go run ./examples/webhooks                       a built-in sample
//	go run ./examples/webhooks -input events.jsonl   JSON Lines {"event", "delivery", "payload"}
//	go run ./examples/webhooks -listen :8080         GitHub's own requests
//
// What an event is, and what is made of it, is in package domain, which knows nothing of messaging.
// Here are the ways in (input.go, http.go), the run around the flow (run.go) and what it says at the
// end (summary.go).
package main
