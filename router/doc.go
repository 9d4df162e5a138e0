// Package router sends one message on to where it belongs: one to one of many, or to many.
//
// How does a message get to the right place when its sender does not know it? A router reads it and
// decides.
//
//	             +--> EU          [Content]  the first branch that matches
//	Incoming --<>+--> US
//	             +--> Rest
//	Lines    --|> ----> Wanted    [Filter]   some go on, the others end here
//	Orders   --<= ----> Lines     [Split]    one becomes its parts
//
//	router.Content(
//		router.When("eu", from("EU"), EU), // from("EU") is a func(Order) bool
//		router.When("us", from("US"), US),
//		router.Otherwise(Rest),
//	)
//
// Delivery: Content and Filter forward, bytes in are bytes out; a message without a route is an error;
// Filter drops by that word, counted. Concurrency: your functions are called by many goroutines at
// once, and again on a retry: let them only compute. State: none.
package router
