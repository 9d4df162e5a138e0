package tracing

// A Class is the kind of a failure: the value of ErrorType.
type Class uint8

// The classes.
const (
	ClassNone      Class = iota
	ClassTransient       // tried again by the policy
	ClassPermanent       // no retry helps
	ClassExpired         // its own deadline passed
	ClassPanic           // somebody's code panicked
	ClassPublish         // what the message caused could not be published
	ClassSettle          // a mark or a release could not be written after the publish
	ClassLater           // a store is busy or down: nobody's fault
	classes
)

// String gives the value of ErrorType, "" for none.
func (c Class) String() string {
	return [...]string{"", "transient", "permanent", "expired", "panic", "publish", "settle", "later"}[min(c, classes-1)]
}
