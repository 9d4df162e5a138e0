package flow_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// flaky fails as often as it is told, then passes on.
func flaky(fails int) func(parcel) (parcel, error) {
	return func(p parcel) (parcel, error) {
		if fails--; fails >= 0 {
			return p, errFlaky
		}
		return p, nil
	}
}

// Breaks if a hop begins a trace of its own, if what is processed is no child of its send, or if a retry
// is a span.
func TestTraceOverHops(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(flaky(2), sorted)),
			flow.Step("end", sorted, done[parcel]()), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Minute)
		r.looks(`
process arrivals @sort = sent, retry, retry
	send sorted @sort
		process sorted @end = done
`)
		s := find(t, r.traces.Spans(), "process arrivals")
		if got := s.Get(tracing.Attempt); got != "3" {
			t.Errorf("attempt %s; want 3", got)
		}
		for i := range s.Events {
			e := event(s, i)
			if got := e.Get(tracing.Attempt) + " " + e.Get(tracing.ErrorType) + " " + e.Get(tracing.Pause); got != []string{"1", "2"}[i]+" transient 1" {
				t.Errorf("event %d says %s", i, got)
			}
		}
	})
}

// Breaks if attempts have no spans, or if one after the first begins another trace.
func TestTraceAttemptSpans(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, func(c *tracing.Config) { c.AttemptSpans = true },
			flow.Step("sort", arrivals, translator.Map(func(p parcel) (parcel, error) { return p, nil }, sorted)),
			flow.Step("end", sorted, endpoint.Do(func() func(context.Context, parcel) error {
				try := flaky(1)
				return func(_ context.Context, p parcel) error { _, err := try(p); return err }
			}())), flow.Direct(sorted), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Minute)
		r.looks(`
process arrivals @sort = sent, retry
	attempt sort @sort
		process sorted @end direct = done
	attempt sort @sort ! transient
		process sorted @end direct ! transient
`)
		var tries []string
		for _, s := range all(r.traces.Spans(), "attempt sort") {
			tries = append(tries, s.Get(tracing.Attempt))
		}
		if slices.Sort(tries); !slices.Equal(tries, []string{"1", "2"}) {
			t.Errorf("attempts %q", tries)
		}
	})
}

func TestTraceLinkHops(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, func(c *tracing.Config) { c.LinkHops = true },
			flow.Step("sort", arrivals, translator.Map(flaky(0), sorted)),
			flow.Step("end", sorted, done[parcel]()), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Second)
		r.looks(`
process arrivals @sort = sent
	send sorted @sort
process sorted @end = done ~1
`)
		spans := r.traces.Spans()
		send, end := find(t, spans, "send sorted"), find(t, spans, "process sorted")
		if l := end.Links[0].SpanContext; l.SpanID() != send.SpanContext.SpanID() || sameTrace(send, end) {
			t.Errorf("the hop is linked to %v; want its send, of another trace", l.SpanID())
		}
	})
}

// glue is an aggregator of two.
func glue(s aggregator.Store) *aggregator.Aggregator[parcel, sticker] {
	return &aggregator.Aggregator[parcel, sticker]{
		Correlate: func(p parcel) string { return p.Kind }, To: stickers, Size: 2, Store: s, Timeout: time.Hour,
		Combine: func(key string, ps []parcel) (sticker, error) { return sticker{key, len(ps)}, nil },
	}
}

// twins splits a parcel in two.
func twins(p parcel) []parcel { return []parcel{{p.ID, p.Kind, 1}, {p.ID, p.Kind, 2}} }

// Breaks if what is split and put together again leaves its trace, without the option or with it.
func TestTraceLinkAggregates(t *testing.T) {
	for link, want := range map[bool]string{
		false: `
process arrivals @split = sent
	process sorted @glue direct = held
	process sorted @glue direct = sent
		aggregate glue @glue (size) ~2
			send stickers @glue
`,
		true: `
aggregate glue @glue (size) ~2
	send stickers @glue
process arrivals @split = sent
	process sorted @glue direct = held
	process sorted @glue direct = sent ~1
`,
	} {
		everyWay(t, func(t *testing.T, how string) {
			r := newTraced(t, how, func(c *tracing.Config) { c.LinkAggregates = link },
				flow.Step("split", arrivals, router.Split(twins, sorted)),
				flow.Step("glue", sorted, glue(&aggregator.Memory{})), flow.Direct(sorted), quick())
			r.give("arrivals", "k", parcel{ID: "1", Kind: "a"})
			r.wait(time.Second)
			r.looks(want)
			spans := r.traces.Spans()
			a := find(t, spans, "aggregate glue")
			for _, m := range all(spans, "process sorted") {
				if !slices.ContainsFunc(a.Links, linkedTo(m)) {
					t.Errorf("the aggregate is not linked to the member %v", m.SpanContext.SpanID())
				}
				if link && m.Get(tracing.Outcome) == "sent" && !linkedTo(a)(m.Links[0]) {
					t.Error("the member that completed the group is not linked to the aggregate")
				}
			}
		}, claims, routed)
	}
}

// Members of two traces: the aggregate has one of its own, and a link to each. What time releases is in
// the trace of its only member.
func TestTraceAggregateOfTwoTraces(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, glue(&aggregator.Memory{})), quick())
		r.give("arrivals", "", parcel{ID: "1", Kind: "a"})
		r.wait(time.Second)
		r.give("arrivals", "", parcel{ID: "2", Kind: "a"})
		r.give("arrivals", "", parcel{ID: "3", Kind: "late"})
		r.wait(2 * time.Hour)
		r.looks(`
aggregate glue @glue (size) ~2
	send stickers @glue
process arrivals @glue = held
process arrivals @glue = held
	aggregate glue @glue (timeout) ~1
		send stickers @glue
process arrivals @glue = sent ~1
`)
	})
}
