package measure

import (
	"context"
	"fmt"
	"os"
	"time"
)

// A Row is one line of the table: one work, and who does it.
type Row struct {
	Name string

	// Ceiling is the work without any promise: as fast as it can be. Nil: there is none.
	Ceiling *Contestant
	// Rival is the work by something else that people use. Nil: none runs here.
	Rival *Contestant
	Ours  []Ours

	// Needs says why the row cannot run here: a broker that is not there. Nil, or nil returned: it can.
	Needs func() error

	// Unit is what is counted. "": messages.
	Unit string
	// Units is how many of them a message comes to. 0: 1.
	Units int
	// Count is how many messages a measurement has, for work that is about a number: a million ids.
	// 0: as many as take Options.Time.
	Count int
	// Slice is the length of one measurement where differences of a few percent are looked for. All
	// contestants are then set up once and run by turns, for Options.Time times Options.Rounds each.
	// 0: each measurement takes Options.Time and has a contestant of its own.
	Slice time.Duration
	// Caller does, n times, what a contestant's caller allocates for: it is taken off the allocations
	// that a Must speaks of. Nil: nothing is taken off.
	Caller func(n int)
}

// A Contestant is one way of doing a row's work.
type Contestant struct {
	Name string
	// Open sets the work up. What it starts, Load.Close ends.
	Open func(ctx context.Context) (Load, error)
	// Count is how many messages a measurement of this one has, where it is so much slower or faster than
	// the others that one number would be wrong for both. 0: the row's.
	Count int
}

// A Load is work that is set up.
type Load struct {
	// Ready makes ready what a Run of n messages needs, such as the topic that it reads: before each Run,
	// and outside the measurement. Nil: there is nothing to make ready.
	Ready func(ctx context.Context, n int) error
	// Run has n messages done and returns when everything they cause is through. It is called again
	// and again, by one goroutine.
	Run func(ctx context.Context, n int) error
	// Done counts the units that have come out at the end since Open.
	Done func() int64
	// Check says what is wrong with what the last Run left behind, outside the measurement. Nil: Done says
	// enough.
	Check func(ctx context.Context) error
	// Close ends what Open started, and waits for it. Nil: there is nothing to end.
	Close func() error
}

// Ours is a contestant of ours, and what it must reach.
type Ours struct {
	Contestant

	Must Must
}

// A Must is what has to be reached, in the same run. The zero Must is a mistake: one that asks for nothing
// says Why.
type Must struct {
	Ceiling     float64 // at least this many times the ceiling's rate; 0: not asked
	Rival       float64 // at least this many times the rival's rate; 0: not asked
	Allocations float64 // at most this many a message, rounded to a whole one, beside the caller's; 0: not asked
	Why         string  // nothing is asked, and why
}

// Env is a Row's Needs: an environment variable that says where something is.
func Env(name, what string) func() error {
	return func() error {
		if os.Getenv(name) == "" {
			return fmt.Errorf("needs %s: set %s", what, name)
		}
		return nil
	}
}

func (r *Row) units() int { return max(r.Units, 1) }

func (r *Row) unit() string {
	if r.Unit == "" {
		return "messages"
	}
	return r.Unit
}

// wrong says what the row lacks.
func (r *Row) wrong() error {
	if len(r.Ours) == 0 {
		return fmt.Errorf("row %q has nobody of ours: give it Ours", r.Name)
	}
	for _, o := range r.Ours {
		m := o.Must
		asks := m.Ceiling != 0 || m.Rival != 0 || m.Allocations != 0
		switch {
		case asks == (m.Why != ""):
			return fmt.Errorf("row %q, %s: give it a Must, or say Why it has none", r.Name, o.Name)
		case m.Ceiling != 0 && r.Ceiling == nil, m.Rival != 0 && r.Rival == nil:
			return fmt.Errorf("row %q, %s: its Must speaks of somebody who does not run: give the row a Ceiling and a Rival", r.Name, o.Name)
		}
	}
	return nil
}
