package channel

import (
	"context"
	"reflect"
)

// A Processor is a block: one pattern, from messages of type T to whatever its Shape declares.
type Processor[T any] interface {
	// Process says what the message comes to. It never publishes, is safe for concurrent use, and may
	// be called again with the same message.
	Process(m Message[T]) (Result, error)
	// Shape is what the block looks like from outside. It is asked once.
	Shape() Shape
}

// A Batcher is a block that works on many messages at once. Results and errors are aligned with ms.
// No driver carries batches yet: flow.New refuses a step with one, by name.
type Batcher[T any] interface {
	ProcessBatch(ms []Message[T]) ([]Result, []error)
	Shape() Shape
}

// A Source is what speaks first: a gateway, a webhook, a schedule.
type Source interface {
	// Open hands over the way into the flow. Emit returns nil when everything the result sends is
	// published and settled, or is in the dead letter; an error means nothing was taken. It is safe
	// for concurrent use until the flow stops.
	Open(emit func(ctx context.Context, r Result) error)
	Shape() Shape
}

// A Shape is a block seen from outside: what is drawn, checked and enforced.
type Shape struct {
	Pattern    string   // the pattern's name in the book
	Outlets    []Outlet // every topic it may send to
	Inlets     []Inlet  // ways in besides the step's own topic
	Effect     Effect
	Tombstones bool // the step's own topic may bring messages without a payload
	// Failed is asked once before a message that finally failed goes to the dead letter: an error
	// reply, a compensation, the whole group (Dead). Drop says that there is nothing to bury, since it
	// ended elsewhere. Nil, an error or the zero Result: the message alone, and so it is if what Failed
	// sends cannot be sent; the letter then says why. Later, from here or from a step that it sends to over
	// a direct hop, makes the message wait.
	Failed func(e *Envelope, err error) (Result, error)
	// Open gives how many groups, or whatever else the block keeps under a scope, wait there to be
	// complete: for metrics. Nil: it keeps none, or its store cannot count.
	Open func(ctx context.Context, scope string) (int64, error)
	// Err is everything that is wrong with the block's configuration; flow.New reports it.
	Err error
}

// An Effect says what repeating a block's work would do.
type Effect uint8

// The effects.
const (
	Pure     Effect = iota // repeating it is invisible
	External               // it keeps state in a store
	Acts                   // it has an effect in the world
)

// An Outlet is one way out of a block.
type Outlet struct {
	Name       string // of the branch, for the drawing
	Topic      string // or a pattern of topics, for destinations that come from a message
	Type       reflect.Type
	BestEffort bool
}

// Out is an outlet to a topic; give a pattern ("replies.*") for destinations that a message names.
func Out[T any](name string, topic Topic[T]) Outlet {
	return Outlet{Name: name, Topic: string(topic), Type: reflect.TypeFor[T]()}
}
