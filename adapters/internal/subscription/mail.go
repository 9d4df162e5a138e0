package subscription

import (
	"sync"

	"github.com/leat-go/leat/adapters"
)

// mail is what others have for the loop.
type mail struct {
	news   chan struct{} // holds a token: there is some
	thanks chan struct{} // holds a token: the run was taken

	mu      sync.Mutex
	run     []*adapters.Record
	waits   bool // run does
	last    bool // no run comes after it
	reports []report
	spare   []report
	ticked  bool
}

// A report is what a worker says of its record.
type report struct {
	turn

	line *line
	what what
}

type what uint8

const (
	finished what = iota // acknowledged, or its dead letter is published: the worker is gone
	again                // nacked, and its pause is over: the worker is gone
	returned             // it is to be given back: the worker is gone
	pausing              // somebody else of a shared line may be offered meanwhile
	paused               // no longer
)

func newMail() mail { return mail{news: make(chan struct{}, 1), thanks: make(chan struct{}, 1)} }

func (m *mail) nudge() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// hand puts a run there for the loop.
func (m *mail) hand(run []*adapters.Record, last bool) {
	m.mu.Lock()
	m.run, m.waits, m.last = run, true, last
	m.mu.Unlock()
	m.nudge()
}

func (m *mail) report(r report) {
	m.mu.Lock()
	m.reports = append(m.reports, r)
	m.mu.Unlock()
	m.nudge()
}

func (m *mail) tick() {
	m.mu.Lock()
	m.ticked = true
	m.mu.Unlock()
	m.nudge()
}

// open gives what workers have reported, which is good until the next call, and whether a run waits and a tick came.
func (m *mail) open() (reports []report, run, tick bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reports, tick = m.reports, m.ticked
	m.reports, m.spare, m.ticked = m.spare[:0], m.reports, false
	return reports, m.waits, tick
}

// take takes the run. Whoever handed it over may use its memory after a token of thanks.
func (m *mail) take() (run []*adapters.Record, last bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	run, last = m.run, m.last
	m.run, m.waits = nil, false
	return run, last
}
