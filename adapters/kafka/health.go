package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"golang.org/x/net/proxy"
)

// A part of a reader: a partition; a connection; or, the zero value, its membership of the group.
type part struct {
	topic     string
	partition int32
	broker    string // its address, and whose connection
}

// A health is whether a reader is in trouble. It is logged as trouble begins and as the last of it ends: a
// connection that breaks is an error of every partition, again with every try, and each text has another port
// in it. What comes in between is for those who log at debug level. A part that works says nothing of the other
// connections, which may only be about to find out: the end is logged when all has been well for a moment.
type health struct {
	log   *slog.Logger
	grace time.Duration // trouble that is silent for so long is over

	bad     atomic.Bool // there is trouble, and its end is not logged
	mu      sync.Mutex
	failing map[part]bool // true: it works again, and is over with whatever works next
	timer   *time.Timer
	due     time.Time // when it ends the trouble
	on      bool      // between begin and end; else nobody goes on trying
}

// calm is how long all has been well when trouble is over: longer than the default CommitInterval, so that something is
// committed meanwhile.
const calm = 2 * time.Second

func newHealth(log *slog.Logger, c *Cluster) *health {
	return &health{log: log, grace: c.DialTimeout + c.ReadTimeout + time.Second, failing: map[part]bool{}}
}

// trouble notes an error of a part.
func (h *health) trouble(p part, err error) {
	h.mu.Lock()
	level := slog.LevelDebug
	if h.on {
		if !h.bad.Load() {
			level = slog.LevelWarn
		}
		h.failing[p] = false
		h.bad.Store(true)
		h.overIn(h.grace)
	}
	h.mu.Unlock()
	h.log.Log(context.Background(), level, "Kafka consumer in trouble, it goes on trying", "error", err)
}

// overIn has the trouble be over after a time, unless there is more of it.
func (h *health) overIn(d time.Duration) {
	if h.timer == nil {
		h.timer = time.AfterFunc(d, h.over)
	}
	h.timer.Reset(d)
	h.due = time.Now().Add(d)
}

// over notes that trouble is over.
func (h *health) over() {
	h.mu.Lock()
	was := false
	switch left := time.Until(h.due); {
	case left > 0 && h.bad.Load(): // there was more of it just now, or the timer was set a moment before due was
		h.timer.Reset(left)
	case left <= 0:
		if was = h.bad.Swap(false); was {
			clear(h.failing)
		}
	}
	h.mu.Unlock()
	if was {
		h.log.Info("Kafka consumer reads again")
	}
}

// well notes that a part works.
func (h *health) well(p part) {
	if !h.bad.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	before := len(h.failing)
	delete(h.failing, p)
	if p.broker == "" { // an answer to anything says nothing of the rest
		maps.DeleteFunc(h.failing, func(_ part, over bool) bool { return over })
	}
	if before > 0 && len(h.failing) == 0 {
		h.overIn(calm)
	}
}

// committed notes that offsets are committed again. That says nothing of the connection that reads: it is over when
// something has been read, too, or nothing has been heard for long.
func (h *health) committed() {
	if !h.bad.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, failing := h.failing[part{}]; failing {
		h.failing[part{}] = true
	}
}

// recovered notes that everything does: there is a new session.
func (h *health) recovered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.failing) > 0 {
		clear(h.failing)
		h.overIn(calm)
	}
}

// begin is for a reader that has connected.
func (h *health) begin() {
	h.mu.Lock()
	h.on = true
	h.mu.Unlock()
}

// end is for a reader that ends.
func (h *health) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.on = false
	clear(h.failing)
	h.bad.Store(false)
	if h.timer != nil {
		h.timer.Stop()
	}
}

// partOf is what an error of the client is about.
func partOf(e *sarama.ConsumerError) part { return part{topic: e.Topic, partition: e.Partition} }

// watch gives the settings of a client whose trouble begins when a broker does not answer in time. The client tells that
// only once it has tried again and again, one thing waiting for the other, which may take longer than a session.
func (h *health) watch(s *sarama.Config, what string) *sarama.Config {
	c := *s
	c.Net.Proxy.Dialer = watcher{s.Net.Proxy.Dialer, h, what}
	return &c
}

// A watcher makes connections that are watched.
type watcher struct {
	dialer proxy.Dialer
	health *health
	what   string // they are for
}

// Dial makes a connection.
func (w watcher) Dial(network, address string) (net.Conn, error) {
	conn, err := w.dialer.Dial(network, address)
	if err != nil {
		return nil, err //nolint:wrapcheck // It is the dialer.
	}
	return &watched{conn, w.health, part{broker: w.what + ", " + address}}, nil
}

type watched struct {
	net.Conn

	health *health
	broker part
}

// Read reads. The client reads only when it waits for an answer.
func (c *watched) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.health.well(c.broker)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.health.trouble(c.broker, fmt.Errorf("%s: no answer: %w", c.broker.broker, err))
	}
	return n, err //nolint:wrapcheck // It is the connection.
}
