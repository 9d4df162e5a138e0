package kafka

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
)

var errTrouble = errors.New("trouble")

func troubled() (*health, *syncBuffer) {
	var log syncBuffer
	c := Cluster{DialTimeout: time.Second, ReadTimeout: time.Second}
	h := newHealth(slog.New(slog.NewTextHandler(&log, nil)), &c)
	h.begin()
	return h, &log
}

// A line that trouble began and one that it ended, whoever notices: when the connection that commits is well again, the one
// that reads may be about to find out, or the other way round. Breaks if that is two troubles.
func TestOneTroubleOfTwoConnections(t *testing.T) {
	orders, desk := part{topic: "orders"}, part{broker: "desk"}
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
		"a connection answers, another does not": {
			func(h *health) {
				h.trouble(desk, errTrouble)
				h.trouble(part{}, errTrouble)
				h.committed()
				h.well(desk)
				time.Sleep(calm)
				h.trouble(orders, errTrouble)
			},
			func(h *health) { h.well(orders) },
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
				h.over() // as if its time had been up just before
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

// The timer fires a moment before its time. Breaks if nobody says then that the trouble is over, and nothing of the next one.
func TestTimerOfTroubleIsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, log := troubled()
		defer h.end()
		h.trouble(part{}, errTrouble)
		h.timer.Stop()
		h.over()
		time.Sleep(h.grace) // virtual
		synctest.Wait()
		if !strings.Contains(log.String(), "reads again") {
			t.Errorf("after %v:\n%s", h.grace, log)
		}
	})
}

// An answer that does not come is trouble as soon as ReadTimeout is over, whatever the client does then, and whoever it is
// for; before a reader has begun, that is for the caller alone. Breaks if only the client's errors are.
func TestNoAnswerIsTrouble(t *testing.T) {
	h, log := troubled()
	h.end()
	defer h.end()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	s := sarama.NewConfig()
	s.Net.Proxy.Dialer = dialer{func(context.Context, string, string) (net.Conn, error) { return near, nil }, time.Minute}
	conn, err := h.watch(s, "reading").Net.Proxy.Dialer.Dial("tcp", "broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	late := func() {
		_ = conn.SetReadDeadline(time.Now())
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("reading %d bytes: %v", n, err)
		}
	}
	late()
	if log.String() != "" {
		t.Errorf("before it has begun: %s", log)
	}
	h.begin()
	late()
	if !strings.Contains(log.String(), "reading, broker:9092: no answer") {
		t.Errorf("the log says %q", log)
	}
	_ = conn.SetReadDeadline(time.Time{})
	go func() { _, _ = far.Write([]byte{1}) }()
	if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil || len(h.failing) != 0 {
		t.Errorf("an answer: %d bytes, %v; still failing: %v", n, err, h.failing)
	}
}
