package channel

import (
	"reflect"
	"strings"
)

// A Topic is a Datatype Channel: an address that knows the type of what travels there.
// Declare it as a constant and share it between the steps that send and those that receive:
//
//	const Orders channel.Topic[Order] = "orders"
//
// Source: Datatype Channel, Enterprise Integration Patterns, page 111.
type Topic[T any] string

// Address gives the topic's logical name and the type of its bodies.
func (t Topic[T]) Address() (name string, body reflect.Type) {
	return string(t), reflect.TypeFor[T]()
}

// An Address is any Topic, whatever its type: what flow.Direct and the drawing take.
type Address interface {
	Address() (name string, body reflect.Type)
}

// MatchTopic reports whether a topic is one that pattern names. A pattern is a topic, or a topic
// whose '*' stand for any run of characters: "replies.*".
func MatchTopic(pattern, topic string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == topic
	}
	if !strings.HasPrefix(topic, head) {
		return false
	}
	topic = topic[len(head):]
	for {
		part, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(topic, part)
		}
		i := strings.Index(topic, part)
		if i < 0 {
			return false
		}
		topic, rest = topic[i+len(part):], after
	}
}

// IsPattern reports whether a topic's name stands for many.
func IsPattern(topic string) bool { return strings.Contains(topic, "*") }
