// Package endpoint connects applications to messages: what your code does with one, and what a handler
// you have already does.
//
// How does a service that knows nothing of messaging take part in it? An endpoint calls it for each
// message.
//
//	Payments --> (charge)               [Do]           an effect, and no answer
//	Orders   --> (price)  --> Priced    [Call]         the answer goes on
//	bytes    --> (a Watermill handler)  [Wrap], [WrapHandler]
//
//	endpoint.Do(charge) // charge is a func(context.Context, Payment) error
//
// Delivery: the message is acknowledged after your function returned nil and its answer is published.
// It is called again after an error or a crash: an effect that must not happen twice needs an
// idempotent receiver around the step, or the message's id (DoMessage). Concurrency: your function is
// called by many goroutines at once. State: none.
package endpoint
