package leattest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A History is what happened in a Simulation.
type History struct {
	Seed  uint64
	Kills int // instances that died before the healing
	World *World
	// Left lists what is still on the broker at the end ("topic id"): nothing, if nothing hangs.
	Left []string

	mu   sync.Mutex
	text strings.Builder
	from time.Time
}

// String gives every event, one a line: when, which instance, what.
func (h *History) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// Hash is short and different for different histories.
func (h *History) Hash() string {
	sum := sha256.Sum256([]byte(h.String()))
	return hex.EncodeToString(sum[:8])
}

func (h *History) note(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(&h.text, "%8.3fs %s\n", time.Since(h.from).Seconds(), what)
}
