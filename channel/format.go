package channel

import (
	"fmt"
	"log/slog"
	"strconv"
)

// What messages say of themselves when somebody prints or logs them: which they are, and nothing of what
// is in them. Left to itself, fmt prints bodies, headers and bytes, and so would every log line that
// mentions a message. Each verb prints the same; ids are quoted, for they come from outside.

// Format prints id and topic, whatever the verb, and nothing of body, key or headers.
func (m Message[T]) Format(s fmt.State, _ rune) { write(s, m.env.said("message")) }

// LogValue is what package log/slog has of the message: id and topic.
func (m Message[T]) LogValue() slog.Value { return slog.StringValue(m.env.said("message")) }

// Format prints id and topic, whatever the verb, and nothing of body, key or headers.
func (e *Envelope) Format(s fmt.State, _ rune) { write(s, e.said("message")) }

// Format prints id and topic, whatever the verb, and nothing of body, key or headers.
func (e Entry) Format(s fmt.State, _ rune) { write(s, said("entry", e.ID(), e.topic)) }

// Format prints topic and type, whatever the verb, and nothing of body, key or headers.
func (d Delivery) Format(s fmt.State, _ rune) {
	write(s, fmt.Sprintf("delivery of %v to topic %q", d.typ, d.topic))
}

// Format prints the outcome and how many deliveries there are, whatever the verb, and nothing of them.
func (r Result) Format(s fmt.State, _ rune) {
	write(s, r.outcome.String()+", "+itoa(r.Len())+" deliveries")
}

// Format prints id and topic, whatever the verb, and nothing of body, key or headers.
func (a Arrival) Format(s fmt.State, _ rune) { write(s, said("arrival", a.ID, a.Topic)) }

// LogValue is what package log/slog has of the arrival: id and topic.
func (a Arrival) LogValue() slog.Value { return slog.StringValue(said("arrival", a.ID, a.Topic)) }

func (e *Envelope) said(what string) string {
	switch {
	case e == nil:
		return "no " + what
	case e.tick: // its id has the key in it
		return "due key of " + strconv.Quote(e.scope)
	}
	return said(what, e.ID(), e.topic)
}

func said(what, id, topic string) string {
	what += " " + strconv.Quote(id)
	if topic != "" {
		what += " on topic " + strconv.Quote(topic)
	}
	return what
}

func write(s fmt.State, text string) { _, _ = s.Write([]byte(text)) }
