package main

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-go/leat/examples/webhooks/domain"
	"github.com/leat-go/leat/idempotency"
)

// Over direct hops an event is through when Take returns. Over a broker it is on its way then, from topic
// to topic, and a drain takes nothing off a topic any more. So at the end of an input the pipeline waits until
// every event has come to its end: one of the outcomes, or, part by part, an open digest.

// A pathway is what is known of events between topics.
type pathway struct {
	taken  int64                   // published to the first topic
	parts  map[string]map[int]bool // of an event, by delivery id: those that no digest has yet
	joined int64                   // events whose parts are all in digests
}

// splits notes the parts of an event before they go out, joins each that comes to the digest. A part that
// comes again changes nothing.
func (w *pathway) splits(parts []domain.Activity) {
	open := map[int]bool{}
	for _, a := range parts {
		open[a.Part] = true
	}
	w.parts[parts[0].Delivery] = open
}

func (w *pathway) joins(a domain.Activity) {
	open, ok := w.parts[a.Delivery]
	if !ok {
		return
	}
	if delete(open, a.Part); len(open) == 0 {
		delete(w.parts, a.Delivery)
		w.joined++
	}
}

// split is domain.Split, noted.
func (p *webhooks) split(a domain.Activity) []domain.Activity {
	parts := domain.Split(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.way.splits(parts)
	return parts
}

// group is what digests are kept by. That it is asked is noted.
func (p *webhooks) group(a domain.Activity) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.way.joins(a)
	return a.Group
}

// rest waits until every event has come to its end, and nothing is left on the topics.
func (p *webhooks) rest(ctx context.Context) error {
	const often = 10 * time.Millisecond
	t := time.NewTicker(often)
	defer t.Stop()
	for !p.atRest() {
		select {
		case <-t.C:
		case <-p.handle.Done():
			return p.handle.Err()
		case <-ctx.Done():
			return fmt.Errorf("events are left on the topics, for the next run: %w", context.Cause(ctx))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sum.Topics = len(p.reads)
	return nil
}

func (p *webhooks) atRest() bool {
	counts := p.handle.Counts()
	for _, c := range counts {
		if c.InFlight > 0 {
			return false
		}
	}
	dropped := counts["relevant"].Dropped
	p.mu.Lock()
	c := &p.sum.Counts
	ended := c.Invalid + c.Expired + c.Dead + dropped["filtered"] + dropped[idempotency.Duplicate] + p.way.joined
	// More than were taken: an earlier run has left some.
	c.Received = max(p.way.taken, counts["validate"].Received)
	all := ended >= c.Received
	p.mu.Unlock()
	return all && !p.ends.lags(p.reads)
}
