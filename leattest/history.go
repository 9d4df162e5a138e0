package leattest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A History is what happened in a Simulation.
type History struct {
	Seed  uint64
	Kills int // instances that died before the healing
	Stops int // instances that were stopped in good order
	World *World
	// Left lists what is still on the broker at the end ("topic id"): nothing, if nothing hangs.
	Left []string

	mu     sync.Mutex
	events []event
	from   time.Time
}

type event struct {
	at   time.Duration
	who  string
	what string
}

// String gives every event, one a line: when, which instance, what.
func (h *History) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, e := range h.events {
		fmt.Fprintf(&b, "%8.3fs %s %s\n", e.at.Seconds(), e.who, e.what)
	}
	return b.String()
}

// Hash is short, and different for different histories.
func (h *History) Hash() string {
	sum := sha256.New()
	h.mu.Lock()
	defer h.mu.Unlock()
	var buf []byte
	for _, e := range h.events {
		buf = strconv.AppendInt(buf[:0], int64(e.at), 10)
		buf = append(append(append(append(append(buf, ' '), e.who...), ' '), e.what...), '\n')
		sum.Write(buf)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func (h *History) note(who, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event{time.Since(h.from), who, what})
}
