package subscription

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A Config says how claims are delivered. The zero value is useful. It is not changed after its first
// Deliver, and then safe for concurrent use.
type Config struct {
	// Lanes is how many messages of one claim may be in flight at once. In KeyOrdered mode a key has a lane of its own
	// while there are enough, and shares one else; Ordered has one lane. 0: 256.
	Lanes int
	// SpreadKeyless gives up the order of messages without a key, so that Lanes of them are in flight at
	// once. Otherwise they have one lane of their own, and keep their partition's order.
	SpreadKeyless bool
	// Backoff is the pause after a nack. Zero: 100 ms up to 10 s.
	Backoff Backoff
	// MaxAttempts is how often a message is offered before it goes to the dead letter. What the adapter
	// knows of earlier deliveries (Record.Again) counts. 0: for ever. Set it with DeadLetter, or neither.
	MaxAttempts int
	// DeadLetter is the topic for what was nacked MaxAttempts times, and for what is no message. "": the
	// one comes again for ever, the other is parked.
	DeadLetter string
	// Publish publishes dead letters. Required with DeadLetter.
	Publish adapters.BatchPublisher
	// Limits bound a dead letter; one beyond them becomes a notice.
	Limits channel.Limits
	// Drain is how long messages in flight may be acknowledged after reading ended. The claim should
	// wait longer. 0: 10 s.
	Drain time.Duration
	// Gate holds deliveries back while it is closed. nil: none does.
	Gate *Gate
	// Log gets what an operator has to know, never keys, payloads or headers. nil: slog.Default.
	Log *slog.Logger
	// Events are told what happens, for instruments.
	Events Events
	// Message is how a record looks to Watermill. It is called for every attempt and gives a new message
	// each time, with a Metadata of its own. It must not keep the record; the context is set afterwards.
	// nil: id, payload and headers, with the key in channel.HeaderKey.
	Message func(*adapters.Record) *message.Message
}

// Events are functions that are called as things happen; nil ones are not. They must not block, or the claim's other messages
// wait, nor keep the record; they are called from many goroutines.
type Events struct {
	Redelivered  func(adapters.Claim, *adapters.Record) // offered, and not for the first time
	DeadLettered func(adapters.Claim, *adapters.Record) // its dead letter is published
	Parked       func(adapters.Claim, *adapters.Record) // it is no message, and there is no dead letter
}

// A Backoff is a pause that is random between 0 and Base, which doubles with every further failure of
// the same record, up to Cap: full jitter.
type Backoff struct {
	Base time.Duration // 0: 100 ms
	Cap  time.Duration // 0: 10 s, or Base if that is longer
}

// pause is the time to wait after the n-th failure in a row, from 1.
func (b Backoff) pause(n int) time.Duration {
	most := b.Cap
	if n = max(n-1, 0); b.Base <= b.Cap>>n { // so that shifting cannot overflow
		most = b.Base << n
	}
	return rand.N(most + 1)
}

// Err gives every field that makes no sense, by name; nil if there is none.
func (c *Config) Err() error {
	const most = 1 << 20
	s := c.withDefaults()
	return errors.Join(
		check(c.Lanes >= 0 && c.Lanes <= most, "Lanes is %d: give a number up to %d, or 0 for 256", c.Lanes, most),
		check(s.Backoff.Base > 0 && s.Backoff.Base <= s.Backoff.Cap,
			"Backoff is %v up to %v: give 0 < Base <= Cap, or 0 for 100ms up to 10s", c.Backoff.Base, c.Backoff.Cap),
		check(c.MaxAttempts >= 0, "MaxAttempts is %d: give a number, or 0 for no limit", c.MaxAttempts),
		check((c.MaxAttempts == 0) == (c.DeadLetter == ""),
			"MaxAttempts is %d and DeadLetter is %q: set both, or neither to try for ever", c.MaxAttempts, c.DeadLetter),
		check(c.DeadLetter == "" || c.Publish != nil, "DeadLetter is %q and there is nothing to publish it with", c.DeadLetter),
		check(min(c.Limits.Body, c.Limits.Headers, c.Limits.Header, c.Limits.HeaderBytes) >= 0,
			"Limits has a negative field: give 0 for a default"),
		check(c.Drain >= 0, "Drain is %v: give a duration, or 0 for 10s", c.Drain),
	)
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// withDefaults is the configuration with every field set.
func (c *Config) withDefaults() Config {
	s := *c
	if s.Lanes == 0 {
		s.Lanes = 256
	}
	if s.Backoff.Base == 0 {
		s.Backoff.Base = 100 * time.Millisecond
	}
	if s.Backoff.Cap == 0 {
		s.Backoff.Cap = max(10*time.Second, s.Backoff.Base)
	}
	if s.Drain == 0 {
		s.Drain = 10 * time.Second
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	if s.Message == nil {
		s.Message = plain
	}
	return s
}
