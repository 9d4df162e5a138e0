package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/examples/webhooks/domain"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

// never are the edges that the sample does not take: nothing in it fails for good.
func never() (edges []string) {
	steps := []string{
		"validate", "relevant", "by-family", "split", "enrich", "digest", "write", "note-invalid", "note-expired", "webhook",
		"translate-admin", "translate-automation", "translate-code", "translate-community", "translate-issues", "translate-review", "translate-security",
	}
	for _, s := range steps {
		edges = append(edges, "step "+s+" --error --> topic webhooks.dead")
	}
	return edges
}

// TestLaw4Webhooks: the traces of the sample are the flow's drawing, over direct hops and over the broker,
// on the engine and on a Watermill router, with two instances on one broker.
func TestLaw4Webhooks(t *testing.T) {
	for _, x := range []struct {
		driver leattest.Driver
		direct bool
	}{{leattest.Engine, true}, {leattest.Engine, false}, {leattest.Router, true}, {leattest.Router, false}} {
		t.Run(fmt.Sprintf("%v, direct %v", x.driver, x.direct), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(30 * 365 * 24 * time.Hour) // virtual time begins in 2000, and the sample has an event that expires later
				var traces leattest.Traces
				large := channel.Limits{Body: 4 << 20} // one of its events has 2 MB, which validate refuses
				broker := &memory.Broker{Limits: large}
				defer broker.Close()
				kept := stores{&idempotency.Memory{}, &aggregator.Memory{}}
				var all []*webhooks
				for range 2 {
					p, topics, steps := declare(config{DigestSize: 5, DigestTimeout: time.Hour}, kept, io.Discard)
					steps = append(steps, flow.Tracing(traces.Config()), flow.Limits(large))
					if x.direct {
						steps = append(steps, flow.Direct(topics...))
					}
					var err error
					if p.flow, err = flow.New("webhooks", steps...); err != nil {
						t.Fatal(err)
					}
					var stop func()
					p.handle, stop = x.driver.Launch(t, p.flow, broker.Publisher(), broker.Subscriber("webhooks"))
					defer stop()
					all = append(all, p)
				}
				lines := bufio.NewScanner(sample())
				lines.Buffer(nil, 4<<20)
				for i := 0; lines.Scan(); i++ {
					if err := all[i%2].Take(t.Context(), append([]byte(nil), lines.Bytes()...)); err != nil && !errors.Is(err, domain.ErrInvalid) {
						t.Fatal(err)
					}
				}
				time.Sleep(2 * time.Hour) // of virtual time: the digests that are not full
				synctest.Wait()
				for _, p := range all {
					if err := p.handle.Drain(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				traces.Check(t, all[0].flow)
				traces.Covers(t, all[0].flow, never()...)
			})
		})
	}
}
