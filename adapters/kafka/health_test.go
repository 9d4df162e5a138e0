package kafka

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errTrouble = errors.New("trouble")

// A book is what was logged.
type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func troubled() (*health, *book) {
	var log book
	c := Cluster{DialTimeout: time.Second, ReadTimeout: time.Second}
	return newHealth(slog.New(slog.NewTextHandler(&log, nil)), &c), &log
}

// A line that trouble began and one that it ended, whoever notices: when the connection that commits is well again, the one
// that reads may be about to find out, or the other way round. Breaks if that is two troubles.
func TestOneTroubleOfTwoConnections(t *testing.T) {
	orders := part{"orders", 0}
	for name, c := range map[string]struct{ first, then func(h *health) }{
		"reading finds out later": {
			func(h *health) {
				h.trouble(part{}, errTrouble)
				h.committed()
				time.Sleep(calm)
				h.trouble(orders, errTrouble)
			},
			func(h *health) { h.well(orders) },
		},
		"committing finds out later": {
			func(h *health) {
				h.trouble(orders, errTrouble)
				h.well(orders)
				time.Sleep(calm / 2)
				h.trouble(part{}, errTrouble)
			},
			func(h *health) { h.committed(); h.well(orders) },
		},
		"there is a new session": {
			func(h *health) {
				h.trouble(orders, errTrouble)
				h.recovered()
				time.Sleep(calm / 2)
				h.trouble(part{}, errTrouble)
			},
			func(h *health) { h.recovered() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // its time is virtual
				h, log := troubled()
				defer h.end()
				is := func(when string, want int) {
					t.Helper()
					synctest.Wait()
					if n := strings.Count(log.String(), "\n"); n != want || strings.Contains(log.String(), "reads again") != (want == 2) {
						t.Errorf("%s there are %d lines, want %d:\n%s", when, n, want, log)
					}
				}
				c.first(h)
				is("in trouble", 1)
				c.then(h)
				time.Sleep(calm - time.Millisecond)
				is("when it is well again", 1)
				time.Sleep(2 * time.Millisecond)
				is("a moment later", 2)
				h.well(orders)
				h.committed()
				h.recovered()
				time.Sleep(time.Hour)
				is("when all is well", 2)
			})
		})
	}
}

// Nothing comes any more that could tell that all is well. Breaks if the trouble is never said to be over.
func TestSilentTroubleIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := troubled()
		defer h.end()
		h.trouble(part{}, errTrouble)
		h.committed()
		time.Sleep(h.grace + time.Second) // virtual
		synctest.Wait()
		if !strings.Contains(log.String(), "reads again") {
			t.Errorf("after %v:\n%s", h.grace, log)
		}
	})
}
