package subscription

import (
	"sync"

	"github.com/leat-go/leat/adapters"
)

// A finisher hands finished records to the claim. Those that come while it does so go together with the
// next call: nobody waits for a batch to fill, and a busy claim is called less often.
type finisher struct {
	claim adapters.Claim

	mu    sync.Mutex
	ready []*adapters.Record
	spare []*adapters.Record
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
	clear(rs)
}
