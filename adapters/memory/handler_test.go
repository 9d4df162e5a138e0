package memory_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

// A handler is what one life of a member does with its messages, each in a goroutine of its own.
type handler struct {
	ledger *ledger
	actor  *actor
	wild   bool
	all    sync.WaitGroup

	mu sync.Mutex
	r  *rand.Rand
}

func (h *handler) n(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.r.IntN(n)
}

// An act is what is done with a message in the end.
type act uint8

const (
	ack act = iota
	nack
	hang
)

func (h *handler) act() act {
	took := h.n(4)
	if h.wild && h.n(20) == 0 {
		took = 30 // longer than DrainTimeout
	}
	time.Sleep(time.Duration(took) * time.Millisecond) // virtual
	if !h.wild {
		return ack
	}
	return []act{ack, ack, ack, ack, ack, ack, nack, nack, hang}[h.n(9)]
}

func (h *handler) read(ms <-chan *message.Message) {
	defer h.all.Wait()
	for m := range ms {
		h.ledger.delivered(m.UUID, h.actor)
		h.all.Go(func() { h.message(m) })
	}
}

func (h *handler) message(m *message.Message) {
	switch h.act() {
	case ack:
		h.ledger.acking(m.UUID)
		m.Ack()
		<-m.Context().Done()
		switch cause := context.Cause(m.Context()); {
		case cause == context.Canceled: //nolint:errorlint // Itself: it was settled.
			h.ledger.acknowledged(m.UUID, h.actor, true)
		case !errors.Is(cause, errAmbiguous):
			h.ledger.acknowledged(m.UUID, h.actor, false)
		}
	case nack:
		h.ledger.returned(m.UUID, h.actor)
		m.Nack()
	case hang:
		<-m.Context().Done()
	}
}

func (h *handler) own(c adapters.Claim) {
	defer h.all.Wait()
	stopping := make(chan struct{})
	defer close(stopping)
	for {
		rs, err := c.Next(make([]*adapters.Record, 0, 1+h.n(8)))
		if err != nil {
			return
		}
		for _, r := range rs {
			h.ledger.delivered(r.ID, h.actor)
		}
		for _, r := range rs {
			h.all.Go(func() { h.record(c, r, stopping) })
		}
	}
}

func (h *handler) record(c adapters.Claim, r *adapters.Record, stopping <-chan struct{}) {
	rs := []*adapters.Record{r}
	switch h.act() {
	case ack:
		h.ledger.acking(r.ID)
		c.Finish(rs)
		if c.Context().Err() == nil {
			h.ledger.acknowledged(r.ID, h.actor, true)
		}
	case nack:
		h.ledger.returned(r.ID, h.actor)
		c.Return(rs)
	case hang: // own returns without having settled it, or is late
		select {
		case <-stopping:
		case <-c.Context().Done():
		}
	}
}
