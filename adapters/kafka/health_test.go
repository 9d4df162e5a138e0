package kafka

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errTrouble = errors.New("trouble")

func troubled() (*health, *strings.Builder) {
	var log strings.Builder
	c := Cluster{DialTimeout: time.Second, ReadTimeout: time.Second}
	return newHealth(slog.New(slog.NewTextHandler(&log, nil)), &c), &log
}

// A line that trouble began and one that it ended, whoever notices: the connection that commits may be well again when the
// one that reads finds out. Breaks if that is two troubles.
func TestOneTroubleOfTwoConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := troubled()
		defer h.end()
		orders := part{"orders", 0}
		h.trouble(part{}, errTrouble)
		h.committed()
		h.trouble(orders, errTrouble)
		if strings.Contains(log.String(), "reads again") {
			t.Errorf("it reads again before it has:\n%s", log)
		}
		h.well(orders)
		if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "reads again") {
			t.Errorf("%d lines, want 2:\n%s", n, log)
		}
		h.well(orders)
		h.committed()
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines when all is well, want none more:\n%s", n, log)
		}
	})
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
