package kafka

import (
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// ErrConfig is why nothing works with settings that make no sense. The error that wraps it names every
// such field, and what to give it.
var ErrConfig = errors.New("kafka adapter is not configured right")

// ErrUnknown is why a publish failed of which nobody knows whether it succeeded: the broker may have the
// message, or still get it. Sent again, under its id, it may be on the topic twice.
var ErrUnknown = errors.New("not acknowledged: the broker may have the message or not")

// ErrNoTopic is why a topic cannot be read or written: there is none of that name.
var ErrNoTopic = errors.New("topic does not exist")

// ErrForged is why a record is no message: a header that must be there once is there twice, so that two
// readers could take it for two different messages.
var ErrForged = channel.Permanent(errors.New("a reserved header appears twice"))

// ErrRefused is why records are no messages: their batch expands to more than 16 MiB (sarama's
// MaxDecompressedBatchSize, if it was set before), or cannot be read at all. What was in them is still on the topic.
var ErrRefused = channel.Permanent(errors.New("batch of records cannot be read"))

var (
	errRevoked = errors.New("partition was given to another member of the group")
	errNoRoom  = errors.New("run has no room: give Next a slice with capacity to spare")
)

// check gives an ErrConfig unless ok.
func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return wrong(format, args...)
}

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
}

func or[V comparable](v, otherwise V) V {
	var zero V
	if v == zero {
		return otherwise
	}
	return v
}
