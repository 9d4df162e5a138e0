package adapters

import (
	"fmt"
	"log/slog"
	"strconv"
)

// What records say of themselves when somebody prints or logs them: which they are, and nothing of what
// is in them. Each verb prints the same.

// Format prints the id, whatever the verb, and nothing of payload, key or headers.
func (r Record) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(r.said())) }

// LogValue is what package log/slog has of the record: its id.
func (r Record) LogValue() slog.Value { return slog.StringValue(r.said()) }

func (r Record) said() string { return "record " + strconv.Quote(r.ID) }

// Format prints id, topic and error, whatever the verb, and nothing of payload, key or headers.
func (o Outgoing) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(o.said())) }

// LogValue is what package log/slog has of the message: id, topic and error.
func (o Outgoing) LogValue() slog.Value { return slog.StringValue(o.said()) }

func (o Outgoing) said() string {
	text := "message " + strconv.Quote(o.ID) + " for topic " + strconv.Quote(o.Topic)
	if o.Err != nil {
		text += ": " + o.Err.Error()
	}
	return text
}
