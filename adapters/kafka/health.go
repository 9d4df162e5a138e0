package kafka

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// A part of a reader: a partition, or, the zero value, its membership of the group.
type part struct {
	topic     string
	partition int32
}

// A health is whether a reader is in trouble. It is logged as trouble begins and as the last of it ends: a
// connection that breaks is an error of every partition, again with every try, and each text has another port
// in it. What comes in between is for those who log at debug level.
type health struct {
	log   *slog.Logger
	grace time.Duration // trouble that is silent for so long is over

	bad     atomic.Bool
	mu      sync.Mutex
	failing map[part]bool // true: it works again, and is over with whatever works next
	timer   *time.Timer
	ended   bool
}

func newHealth(log *slog.Logger, c *Cluster) *health {
	return &health{log: log, grace: c.DialTimeout + c.ReadTimeout + time.Second, failing: map[part]bool{}}
}

// trouble notes an error of a part.
func (h *health) trouble(p part, err error) {
	h.mu.Lock()
	level := slog.LevelDebug
	if len(h.failing) == 0 {
		level = slog.LevelWarn
	}
	if !h.ended {
		h.failing[p] = false
		h.bad.Store(true)
		if h.timer == nil {
			h.timer = time.AfterFunc(h.grace, h.recovered)
		}
		h.timer.Reset(h.grace)
	}
	h.mu.Unlock()
	h.log.Log(context.Background(), level, "Kafka consumer in trouble, it goes on trying", "error", err)
}

// well notes that a part works.
func (h *health) well(p part) {
	if !h.bad.Load() {
		return
	}
	h.mu.Lock()
	before := len(h.failing)
	delete(h.failing, p)
	maps.DeleteFunc(h.failing, func(_ part, over bool) bool { return over })
	last := before > 0 && len(h.failing) == 0
	if last {
		h.rest()
	}
	h.mu.Unlock()
	if last {
		h.again()
	}
}

// committed notes that offsets are committed again. That says nothing of the connection that reads, which may only be about
// to find out: it is over when something has been read, too, or nothing has been heard for long.
func (h *health) committed() {
	if !h.bad.Load() {
		return
	}
	h.mu.Lock()
	if _, failing := h.failing[part{}]; failing {
		h.failing[part{}] = true
	}
	h.mu.Unlock()
}

// recovered notes that everything does: there is a new session, or nothing has been heard for long.
func (h *health) recovered() {
	h.mu.Lock()
	was := len(h.failing) > 0
	clear(h.failing)
	h.rest()
	h.mu.Unlock()
	if was {
		h.again()
	}
}

func (h *health) again() { h.log.Info("Kafka consumer reads again") }

func (h *health) rest() {
	h.bad.Store(false)
	if h.timer != nil {
		h.timer.Stop()
	}
}

// end is for a reader that ends.
func (h *health) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	clear(h.failing)
	h.rest()
}

// partOf is what an error of the client is about.
func partOf(e *sarama.ConsumerError) part { return part{e.Topic, e.Partition} }
