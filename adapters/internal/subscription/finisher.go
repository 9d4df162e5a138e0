package subscription

import (
	"sync"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/seats"
)

// A finisher hands finished records to the claim, and frees their places on lanes. Those that come while it does so go
// together with the next call: nobody waits for a batch to fill, and a busy claim is called less often.
type finisher struct {
	claim adapters.Claim
	seats *seats.Lanes // nil: records have none

	mu    sync.Mutex
	ready []*adapters.Record
	spare []*adapters.Record
	keys  []string
	busy  bool
}

func (f *finisher) finish(r *adapters.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = append(f.ready, r)
	if f.busy {
		return
	}
	f.busy = true
	for len(f.ready) > 0 {
		batch := f.ready
		f.ready = f.spare[:0]
		f.hand(batch)
		f.spare = batch
	}
	f.busy = false
}

// hand calls the claim without the lock.
func (f *finisher) hand(rs []*adapters.Record) {
	f.mu.Unlock()
	defer f.mu.Lock()
	if f.claim.Context().Err() == nil {
		f.claim.Finish(rs)
	}
	for _, r := range rs {
		if f.isSeated(r) {
			f.keys = append(f.keys, r.Key)
		}
	}
	if len(f.keys) > 0 {
		f.seats.Leave(f.keys...)
		clear(f.keys)
		f.keys = f.keys[:0]
	}
	clear(rs)
}

// isSeated reports whether the record is on the lane of its key.
func (f *finisher) isSeated(r *adapters.Record) bool {
	return f.seats != nil && r.Key != "" && r.Err == nil
}
