package channel

// An Interceptor stands around a block and sees each attempt: an idempotent receiver, an expiry, a
// tap. It is not a Watermill middleware, because a middleware's "done" comes before the publish. It is
// safe for concurrent use.
type Interceptor interface {
	// Enter lets the message pass (the zero Result, nil), answers in the block's place, or refuses
	// with an error. A non-nil Exit is called in every case.
	Enter(e *Envelope) (Result, Exit, error)
	// Shape holds the interceptor's own outlets and inlets.
	Shape() Shape
}

// An Exit sees what the block and the interceptors inside came to; it may change it and add a Settle.
// After a panic it runs with the panic's error.
type Exit func(r Result, err error) (Result, error)
