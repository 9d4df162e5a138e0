package subscription

import (
	"sync"

	"github.com/leat-go/leat/adapters"
)

// mail is what others leave for the loop.
type mail struct {
	news chan struct{} // holds a token: there is some

	mu    sync.Mutex
	full  bag
	spare bag // its memory is used next
}

// A bag is what the loop finds.
type bag struct {
	records []*adapters.Record // from the reader
	last    bool               // no more of them come
	reports []report           // from workers
	ticked  bool
}

// A report is what a worker says of its record.
type report struct {
	turn

	line  *line
	event event
}

type event uint8

const (
	finished event = iota // acknowledged, or its dead letter is published: the worker is gone
	again                 // nacked, and its pause is over: the worker is gone
	returned              // it is to be given back: the worker is gone
	pausing               // somebody else of a shared line may be offered meanwhile
	paused                // no longer
)

func newMail() mail { return mail{news: make(chan struct{}, 1)} }

func (m *mail) nudge() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

// hand leaves records, and says whether they are the last.
func (m *mail) hand(rs []*adapters.Record, last bool) {
	m.mu.Lock()
	m.full.records = append(m.full.records, rs...)
	m.full.last = last
	m.mu.Unlock()
	m.nudge()
}

func (m *mail) report(r report) {
	m.mu.Lock()
	m.full.reports = append(m.full.reports, r)
	m.mu.Unlock()
	m.nudge()
}

func (m *mail) tick() {
	m.mu.Lock()
	m.full.ticked = true
	m.mu.Unlock()
	m.nudge()
}

// open gives what there is. It is good until the next call.
func (m *mail) open() bag {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.full
	m.full = bag{records: m.spare.records[:0], reports: m.spare.reports[:0]}
	m.spare = b
	return b
}
