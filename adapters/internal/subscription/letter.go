package subscription

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/letter"
)

// The headers that a dead letter has beside those of the message it is a copy of: those of package flow
// that make sense without one.
const (
	deadPrefix   = letter.Prefix
	deadError    = deadPrefix + "error"
	deadClass    = deadPrefix + "class"
	deadAttempts = deadPrefix + "attempts"
	deadFirst    = deadPrefix + "first"
	deadLast     = deadPrefix + "last"
	deadTopic    = deadPrefix + "topic"
	deadOrigin   = deadPrefix + "origin"

	transient = "transient"
	permanent = "permanent"
)

const longest = 4 << 10 // bytes of a key or an origin that are kept as they are

// errNacked is the reason of most dead letters: a plain subscriber gives none.
var errNacked = errors.New("nacked")

// A failure is why and since when a record comes to nothing.
type failure struct {
	err         error // nil: it was nacked
	class       string
	attempts    int
	first, last time.Time
}

// nacked counts an attempt.
func (f *failure) nacked() {
	f.attempts++
	f.last = time.Now()
	if f.first.IsZero() {
		f.first = f.last
	}
}

// unreadable is the failure of a record that is no message. It was never offered.
func unreadable(r *adapters.Record) failure {
	now := time.Now()
	return failure{err: r.Err, class: permanent, first: now, last: now}
}

func (f *failure) reason() error {
	if f.err != nil {
		return f.err
	}
	return fmt.Errorf("%w at delivery %d", errNacked, f.attempts)
}

// letter makes the dead letter of a record: its bytes, key and headers, and what there is to say. What
// cannot be copied whole is there as a notice.
func (d *delivery) letter(r *adapters.Record, f *failure) *adapters.Outgoing {
	o := &adapters.Outgoing{Topic: d.DeadLetter, ID: r.ID, Key: r.Key, Payload: r.Payload}
	if r.Headers != nil {
		for name, value := range r.Headers.All() {
			if !strings.HasPrefix(name, deadPrefix) { // of a death before
				o.Headers = append(o.Headers, channel.Field{Name: name, Value: value})
			}
		}
	}
	o.Headers = append(o.Headers,
		channel.Field{Name: deadError, Value: channel.Reason(f.reason())},
		channel.Field{Name: deadClass, Value: f.class},
		channel.Field{Name: deadAttempts, Value: decimal(f.attempts)},
		channel.Field{Name: deadFirst, Value: f.first.UTC().Format(time.RFC3339Nano)},
		channel.Field{Name: deadLast, Value: f.last.UTC().Format(time.RFC3339Nano)},
		channel.Field{Name: deadTopic, Value: d.claim.Topic()})
	if s, ok := r.Native.(fmt.Stringer); ok {
		origin := s.String()
		o.Headers = append(o.Headers, channel.Field{Name: deadOrigin, Value: origin[:min(len(origin), longest)]})
	}
	switch {
	case len(r.Key) > longest || d.Limits.CheckFields(o.Payload, o.Headers) != nil:
		letter.Shrink(o)
	case r.Err != nil: // what could not be read of it is missing
		letter.Mark(o)
	}
	return o
}

func decimal(n int) string { return strconv.Itoa(n) }
