package flow

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leat-go/leat/channel"
)

// A Policy says what happens to a message whose processing fails. It is the one place that retries:
// errors marked channel.Permanent are not tried again, errors marked channel.Later are not counted.
// A failed publish is not the message's fault and is tried again, alone, as long as the flow runs.
// Source: Dead Letter Channel, Enterprise Integration Patterns, page 119.
type Policy struct {
	// Attempts counts every try, the first included. 0: 3.
	Attempts int
	// Backoff is the pause before each retry. Zero: Exponential(100 ms, 1 min).
	Backoff Backoff
	// DeadLetter is where a message goes that finally failed: a copy of its bytes, key and headers,
	// with the headers Dead... about the failure. Required, unless Redeliver.
	DeadLetter channel.Topic[[]byte]
	// Redeliver says in so many words that there is no dead letter: a message is tried until it
	// succeeds, and its key waits for it.
	Redeliver bool
	// Rules are policies for some errors; the first that matches counts.
	Rules []Rule
	// OnRetry is called before each pause. It must not block.
	OnRetry func(Retry)
}

// A Rule is a policy for the errors that When matches.
type Rule struct {
	When     func(error) bool
	Attempts int     // 0: the policy's
	Backoff  Backoff // zero: the policy's
}

// When makes a Rule's predicate of sentinels: errors.Is of any.
func When(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

// A Retry is what OnRetry is told.
type Retry struct {
	Flow, Step string
	MessageID  string // "" of a clock
	Attempt    int    // that has just failed
	Err        error
	After      time.Duration
}

// A Backoff is a pause that grows. The zero value is a Policy's default.
type Backoff struct {
	First  time.Duration // before the first retry
	Cap    time.Duration // the longest; 0: none
	Factor float64       // from each pause to the next; 0: 1
	// Jitter is the share of the pause, from 0 to 1, that is taken off at random; the randomness is
	// the message's id and attempt, so that a message always waits as long, and two never in step.
	Jitter float64
}

// Exponential doubles the pause from first up to limit, and takes off up to half of it at random.
func Exponential(first, limit time.Duration) Backoff {
	return Backoff{First: first, Cap: limit, Factor: 2, Jitter: 0.5}
}

// Fixed is the same pause every time.
func Fixed(pause time.Duration) Backoff { return Backoff{First: pause, Factor: 1} }

// spins reports a backoff that is given and never pauses.
func (b Backoff) spins() bool { return b != (Backoff{}) && b.First == 0 }

// after is the pause before the retry that follows the failed attempt.
func (b Backoff) after(attempt int, random uint64) time.Duration {
	d := float64(b.First)
	if b.Factor > 0 {
		d *= math.Pow(b.Factor, float64(attempt-1))
	}
	if b.Cap > 0 {
		d = min(d, float64(b.Cap))
	}
	d -= d * b.Jitter * float64(random>>11) / (1 << 53)
	return time.Duration(min(d, float64(math.MaxInt64/2)))
}

func (p Policy) addTo(d *draft, s *step) {
	if s == nil {
		if d.said {
			d.flow.errs = append(d.flow.errs, d.flow.errorf("has two policies: give New one, and a step that differs its own"))
		}
		d.policy, d.said = p, true
		return
	}
	if s.hasPolicy {
		d.flow.wrong(s, "it has two policies: give it one")
	}
	s.policy, s.hasPolicy = p, true
}

// wrong lists what a policy lacks or contradicts.
func (p *Policy) wrong() (errs []error) {
	if p.DeadLetter == "" && !p.Redeliver {
		errs = append(errs, errNoWayOut)
	}
	if p.DeadLetter != "" && p.Redeliver {
		errs = append(errs, errTwoWaysOut)
	}
	if p.Attempts < 0 || p.Backoff.First < 0 || p.Backoff.Cap < 0 || p.Backoff.Jitter < 0 || p.Backoff.Jitter > 1 {
		errs = append(errs, fmt.Errorf("%w: Attempts %d, Backoff %+v", errBadPolicy, p.Attempts, p.Backoff))
	}
	spins := p.Redeliver && p.Backoff.spins()
	for i := range p.Rules {
		if p.Rules[i].When == nil {
			errs = append(errs, fmt.Errorf("%w %d", errNilWhen, i))
		}
		spins = spins || p.Redeliver && p.Rules[i].Backoff.spins()
	}
	if spins {
		errs = append(errs, errSpins)
	}
	return errs
}

var (
	errNoWayOut   = errors.New("an error has no way out: give New or the step a flow.Policy with a DeadLetter, or one that says Redeliver")
	errTwoWaysOut = errors.New("flow.Policy has a DeadLetter and says Redeliver: choose one")
	errBadPolicy  = errors.New("flow.Policy has a number below zero, or a Jitter above 1")
	errSpins      = errors.New("flow.Policy says Redeliver without a pause, which would spin: give its Backoff a First")
	errNilWhen    = errors.New("flow.Policy: When is nil in rule")
)

const defaultAttempts = 3

func (p *Policy) setDefaults() {
	if p.Attempts == 0 {
		p.Attempts = defaultAttempts
	}
	if p.Backoff == (Backoff{}) {
		p.Backoff = Exponential(100*time.Millisecond, time.Minute)
	}
}

// rule gives the attempts and the backoff for an error. A rule that panics matches nothing.
func (p *Policy) rule(err error) (attempts int, b Backoff, bad error) {
	attempts, b = p.Attempts, p.Backoff
	for i := range p.Rules {
		r := &p.Rules[i]
		matches := false
		if perr := guard(func() error { matches = r.When(err); return nil }); perr != nil {
			bad = errors.Join(bad, perr)
		}
		if !matches {
			continue
		}
		if r.Attempts > 0 {
			attempts = r.Attempts
		}
		if r.Backoff != (Backoff{}) {
			b = r.Backoff
		}
		break
	}
	if p.Redeliver {
		attempts = math.MaxInt
	}
	return attempts, b, bad
}
