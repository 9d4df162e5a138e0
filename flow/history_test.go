package flow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// stepsOf gives the steps that a span, found by its context in a header, hangs below: "flow/step" each,
// the oldest first. Across links it follows the first.
func stepsOf(spans []leattest.Span, traceparent string) (steps []string) {
	at := func(id string) *leattest.Span {
		for i := range spans {
			if spans[i].SpanContext.SpanID().String() == id {
				return &spans[i]
			}
		}
		return nil
	}
	for s := at(traceparent[36:52]); s != nil; s = at(s.Parent.SpanID().String()) {
		if op := s.Op(); op != tracing.OpSend && op != tracing.OpAggregate {
			steps = append(steps, s.Get(tracing.Flow)+"/"+s.Get(tracing.Step))
		}
	}
	slices.Reverse(steps)
	return steps
}

// The history of whatever leaves is the way that its trace shows, over broker hops and direct ones, with
// retries in between.
func TestHistoryIsTheTrace(t *testing.T) {
	for _, direct := range []bool{false, true} {
		everyWay(t, func(t *testing.T, how string) {
			parts := []flow.Part{
				flow.Step("split it", arrivals, router.Split(twins, sorted)),
				flow.Step("map", sorted, translator.Map(flaky(1), rejected)),
				flow.Step("glue", rejected, glue(&aggregator.Memory{})),
				flow.Step("end", stickers, done[sticker]()), flow.History(), quick(),
			}
			if direct {
				parts = append(parts, flow.Direct(sorted, rejected))
			}
			r := newTraced(t, how, nil, parts...)
			r.give("arrivals", "k", parcel{ID: "1", Kind: "a"})
			r.wait(time.Minute)
			r.stop()
			n := 0
			for _, topic := range []string{"sorted", "rejected", "stickers"} {
				for _, out := range r.on(topic) {
					n++
					got := strings.Split(out.Headers[channel.HeaderHistory], " ")
					for i := range got {
						got[i] = strings.ReplaceAll(got[i], "%20", " ")
					}
					want := stepsOf(r.traces.Spans(), out.Headers["traceparent"])
					if len(want) == 0 || !slices.Equal(got, want) {
						t.Errorf("on %s the history is %q, and the trace says %q", topic, got, want)
					}
				}
			}
			if want := map[bool]int{false: 5, true: 1}[direct]; n != want {
				t.Errorf("%d messages left; want %d", n, want)
			}
		})
	}
}

// What time releases has the history that its first member came with, folded or not.
func TestHistoryOfWhatTimeReleases(t *testing.T) {
	for _, direct := range []bool{false, true} {
		for _, folded := range []bool{false, true} {
			everyWay(t, func(t *testing.T, how string) {
				group := glue(&aggregator.Memory{})
				if folded {
					group.Combine, group.Fold = nil, func(acc sticker, p parcel) (sticker, error) { return sticker{p.Kind, acc.N + 1}, nil }
				}
				parts := []flow.Part{
					flow.Step("map", arrivals, translator.Map(same, sorted)), flow.Step("glue", sorted, group), flow.History(), quick(),
				}
				if direct {
					parts = append(parts, flow.Direct(sorted))
				}
				r := newRig(t, how, parts...)
				r.give("arrivals", "k", parcel{ID: "1", Kind: "a"}, channel.HeaderHistory, "other/step")
				r.wait(2 * time.Hour)
				if out := r.on("stickers"); len(out) != 1 || out[0].Headers[channel.HeaderHistory] != "other/step f/map f/glue" {
					t.Errorf("direct %v, folded %v: what leaves: %+v", direct, folded, out)
				}
			}, claims, routed)
		}
	}
}

// A message that goes round keeps the newest steps, 64 of them; without the part it has no history.
func TestHistoryIsBounded(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var past []string
		for range 100 {
			past = append(past, "old/step")
		}
		for _, keeps := range []bool{true, false} {
			parts := []flow.Part{flow.Step("map", arrivals, translator.Map(same, sorted)), quick()}
			if keeps {
				parts = append(parts, flow.History())
			}
			r := newRig(t, how, parts...)
			r.give("arrivals", "k", parcel{ID: "1"}, channel.HeaderHistory, strings.Join(past, " "))
			r.give("arrivals", "k", parcel{ID: "2"})
			r.wait(time.Second)
			r.stop()
			got := strings.Split(r.on("sorted")[0].Headers[channel.HeaderHistory], " ")
			switch {
			case keeps && (len(got) != 64 || got[63] != "f/map" || got[0] != "old/step"):
				t.Errorf("%d steps, the last %s", len(got), got[len(got)-1])
			case !keeps && len(got) != 100:
				t.Errorf("a flow that keeps no history changed one: %d steps", len(got))
			case r.on("sorted")[1].Headers[channel.HeaderHistory] != map[bool]string{true: "f/map"}[keeps]:
				t.Errorf("the history begins with %q", r.on("sorted")[1].Headers[channel.HeaderHistory])
			}
		}
	}, claims)
}
