package flow_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/translator"
)

// What may have been delivered before says so to every step that works on it or on what it caused, and is counted.
// Breaks if a driver or a hop drops what the adapter knows.
func TestRedelivered(t *testing.T) {
	const in, next channel.Topic[string] = "in", "next"
	records := []*adapters.Record{
		{ID: "first", Payload: []byte(`""`)},
		{ID: "back", Payload: []byte(`""`), Again: 1},
		{ID: "doubtful", Payload: []byte(`""`), Doubtful: true},
	}
	want := map[string]bool{"first": false, "back": true, "doubtful": true}
	told := func(seen map[string]bool) channel.Processor[string] {
		return endpoint.DoMessage(func(m channel.Message[string]) error {
			seen[m.Body] = m.Redelivered()
			return nil
		})
	}
	named := translator.MapMessage(func(m channel.Message[string]) (string, error) { return m.ID(), nil }, next)
	t.Run("flow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			seen := map[string]bool{}
			f := mustNew(t, "f", flow.Step("name", in, named), flow.Step("tell", next, told(seen)), flow.Direct(next), quick())
			s := newScript()
			h := must(f.Start(t.Context(), (&memory.Broker{}).Publisher(), s))(t)
			s.give("in", records...)
			synctest.Wait()
			h.Stop()
			if fmt.Sprint(seen) != fmt.Sprint(want) {
				t.Errorf("redelivered are %v, want %v", seen, want)
			}
			if n := h.Counts()["name"].Again; n != 2 {
				t.Errorf("%d are counted as redelivered, want 2", n)
			}
		})
	})
	t.Run("handler", func(t *testing.T) {
		seen := map[string]bool{}
		handle := must(flow.Handler("tell", told(seen), (&memory.Broker{}).Publisher(), quick(), flow.Logger(silent())))(t)
		for id, is := range want {
			m := message.NewMessage(id, []byte(`"`+id+`"`))
			m.SetContext(context.WithValue(t.Context(), adapters.RedeliveredKey{}, is))
			if err := handle(m); err != nil {
				t.Fatal(err)
			}
		}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("redelivered are %v, want %v", seen, want)
		}
	})
}

// A noting claim notes of what is returned whether it is said to be shown to nobody.
type noting struct{ *script }

func (s noting) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	own(&notingClaim{scriptedClaim{s.script, context.WithoutCancel(ctx), ctx, topics[0]}})
	return nil
}

type notingClaim struct{ scriptedClaim }

func (c *notingClaim) Return(rs []*adapters.Record) {
	for _, r := range rs {
		c.script.add(fmt.Sprintf("%s unseen: %v", r.ID, r.Unseen))
	}
}

// What is returned says whether a step has seen it: what failed has been seen, what waited behind it, or behind a pause,
// has not. Breaks if all of it counts as delivered.
func TestReturnedUnseen(t *testing.T) {
	const in channel.Topic[string] = "in"
	synctest.Test(t, func(t *testing.T) {
		s := noting{newScript()}
		f := mustNew(t, "f", flow.Step("s", in, endpoint.Do(func(context.Context, string) error { return errFlaky })),
			flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead})
		h := must(f.Start(t.Context(), (&memory.Broker{}).Publisher(), s))(t)
		s.give("in", &adapters.Record{ID: "failed", Key: "k", Payload: []byte(`""`)}, &adapters.Record{ID: "behind", Key: "k", Payload: []byte(`""`)})
		synctest.Wait()
		if err := h.Pause("s"); err != nil {
			t.Fatal(err)
		}
		s.give("in", &adapters.Record{ID: "paused", Payload: []byte(`""`)})
		synctest.Wait()
		h.Stop()
		<-h.Done()
		got := s.read()
		slices.Sort(got)
		if want := []string{"behind unseen: true", "failed unseen: false", "paused unseen: true"}; !slices.Equal(got, want) {
			t.Errorf("returned are %v, want %v", got, want)
		}
	})
}
