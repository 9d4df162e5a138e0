package memory

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// ErrConfig is why nothing works on a Broker whose fields make no sense. The error that wraps it
// names every such field.
var ErrConfig = errors.New("memory broker is not configured right")

// A Backoff is the pause before a record that was nacked comes again: random between 0 and Base, which
// doubles with every further nack in the lane, up to Cap. An acknowledged record resets it.
type Backoff struct {
	Base time.Duration // 0: 1 ms
	Cap  time.Duration // 0: 80 ms, or Base if that is longer
}

// pause is the time to wait after the n-th nack in a row, from 1.
func (b Backoff) pause(n int) time.Duration {
	most := b.Cap
	if n = max(n-1, 0); b.Base <= b.Cap>>n { // so that shifting cannot overflow
		most = b.Base << n
	}
	return rand.N(most)
}

// settings are the broker's fields with the defaults filled in.
type settings struct {
	order   adapters.Order
	bound   int
	lanes   uint32
	window  int
	backoff Backoff
	drain   time.Duration
	keep    []string
	limits  channel.Limits
	key     func(*message.Message) string
}

func (b *Broker) configure() error {
	b.once.Do(func() { b.conf, b.err = b.settings() })
	return b.err
}

func (b *Broker) settings() (settings, error) {
	const kib = 1024
	s := settings{
		order:   b.Order,
		bound:   or(b.Bound, 10_000),
		lanes:   uint32(or(b.Lanes, 256)), //nolint:gosec // Checked below.
		window:  or(b.Window, 1024),
		backoff: Backoff{Base: or(b.Backoff.Base, time.Millisecond)},
		drain:   or(b.DrainTimeout, 10*time.Second),
		// As in channel.Limits; written out because withinLimits compares with them itself.
		limits: channel.Limits{
			Body: or(b.Limits.Body, 1_000_000), Headers: or(b.Limits.Headers, 64),
			Header: or(b.Limits.Header, 8*kib), HeaderBytes: or(b.Limits.HeaderBytes, 32*kib),
		},
		keep: slices.Clone(b.Keep), key: b.Key,
	}
	s.backoff.Cap = or(b.Backoff.Cap, max(80*time.Millisecond, s.backoff.Base))
	if s.key == nil {
		s.key = func(m *message.Message) string { return m.Metadata[channel.HeaderKey] }
	}
	const most = 1 << 20
	return s, errors.Join(
		check(b.Order <= adapters.Unordered, "Order is %d: give KeyOrdered, Ordered or Unordered", b.Order),
		check(b.Bound >= 0, "Bound is %d: give a number of messages, or 0 for 10000", b.Bound),
		check(b.Lanes >= 0 && b.Lanes <= most, "Lanes is %d: give a number up to %d, or 0 for 256", b.Lanes, most),
		check(b.Window >= 0, "Window is %d: give a number of messages, or 0 for 1024", b.Window),
		check(s.backoff.Base > 0 && s.backoff.Base <= s.backoff.Cap,
			"Backoff is %v up to %v: give 0 < Base <= Cap, or 0 for 1ms up to 80ms", b.Backoff.Base, b.Backoff.Cap),
		check(!slices.Contains(b.Keep, ""), "Keep names a topic \"\": give its name, or leave it out"),
		check(b.DrainTimeout >= 0, "DrainTimeout is %v: give a duration, or 0 for 10s", b.DrainTimeout),
		check(min(s.limits.Body, s.limits.Headers, s.limits.Header, s.limits.HeaderBytes) > 0,
			"Limits has a negative field: give 0 for a default"),
	)
}

func or[V comparable](v, otherwise V) V {
	var zero V
	if v == zero {
		return otherwise
	}
	return v
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
}

// withinLimits is channel.Limits.Check, without its allocation in the usual case: few headers that
// together are shorter than any one may be.
func (s *settings) withinLimits(payload []byte, count, bytes int, headers func() channel.Headers) error {
	l := &s.limits
	if len(payload) <= l.Body && count <= l.Headers && bytes <= min(l.Header, l.HeaderBytes) {
		return nil
	}
	return l.Check(payload, headers())
}
