package flow_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
)

// A rebalancing subscriber hands over its partition, takes it away while the flow reads on, and hands it over
// again.
type rebalancing struct{ *script }

func (s rebalancing) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	for ctx.Err() == nil {
		own(&revoked{scriptedClaim{s.script, context.WithoutCancel(ctx), ctx, topics[0]}, false})
	}
	return nil
}

// A revoked claim ends behind its first records, still owned.
type revoked struct {
	scriptedClaim
	read bool
}

func (c *revoked) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	if c.read {
		return run, fmt.Errorf("partition is to go elsewhere: %w", channel.ErrStopped)
	}
	c.read = true
	return c.scriptedClaim.Next(run)
}

// A claim that ends, because its partition goes to another member, ends neither the flow nor its other claims: what
// was taken is finished, and what comes later is worked on. Breaks if a rebalance ends a flow.
func TestRebalanceIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const in channel.Topic[string] = "in"
		var seen []string
		f, err := flow.New("f", flow.Step("s", in, endpoint.Do(func(_ context.Context, body string) error {
			seen = append(seen, body)
			return nil
		})), flow.Workers(1), flow.Policy{DeadLetter: "dead"})
		if err != nil {
			t.Fatal(err)
		}
		s := rebalancing{newScript()}
		h, err := f.Start(t.Context(), (&memory.Broker{}).Publisher(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"1", "2", "3"} {
			s.give("in", &adapters.Record{ID: id, Payload: []byte(`"` + id + `"`)})
			synctest.Wait()
		}
		select {
		case <-h.Done():
			t.Fatalf("the flow has ended: %v", h.Err())
		default:
		}
		h.Stop()
		if fmt.Sprint(seen) != "[1 2 3]" || h.Err() != nil {
			t.Errorf("worked on are %v, and the flow ended with %v", seen, h.Err())
		}
	})
}
