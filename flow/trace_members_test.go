package flow_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// An elsewhere is a store in another process: of an entry it keeps id, key, headers and bytes.
type elsewhere struct{ aggregator.Memory }

func written(x channel.Entry) (channel.Entry, error) {
	p, err := x.Payload()
	return channel.NewEntry(x.ID(), x.Key(), slices.Clone(x.Headers()), p), err
}

func (s *elsewhere) Add(ctx context.Context, r aggregator.AddRequest) (aggregator.Added, error) {
	var err error
	if r.Entry, err = written(r.Entry); err != nil {
		return aggregator.Added{}, err
	}
	if fold := r.Fold; fold != nil {
		r.Fold = func(state channel.Entry, first bool) (next channel.Entry, complete bool, err error) {
			if next, complete, err = fold(state, first); err != nil {
				return next, complete, err
			}
			next, err = written(next)
			return next, complete, err
		}
	}
	return s.Memory.Add(ctx, r)
}

// counting folds parcels into one sticker that counts them.
func counting(s aggregator.Store, of int) *aggregator.Aggregator[parcel, sticker] {
	g := glue(s)
	g.Combine, g.Size = nil, 0
	g.Fold = func(acc sticker, p parcel) (sticker, error) { return sticker{p.Kind, acc.N + 1}, nil }
	g.CompleteFold = func(_ string, acc sticker) bool { return acc.N == of }
	return g
}

// An aggregate is linked to each of its members, whether the store keeps them or folds them into one, in
// the process or elsewhere; it is in their trace if they have one in common.
func TestTraceMembers(t *testing.T) {
	for name, store := range map[string]func() aggregator.Store{
		"memory":    func() aggregator.Store { return &aggregator.Memory{} },
		"elsewhere": func() aggregator.Store { return &elsewhere{} },
	} {
		for kind, with := range map[string]func(s aggregator.Store, of int) *aggregator.Aggregator[parcel, sticker]{
			"combined": func(s aggregator.Store, of int) *aggregator.Aggregator[parcel, sticker] {
				g := glue(s)
				g.Size = of
				return g
			},
			"folded": counting,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				everyWay(t, func(t *testing.T, how string) {
					const of = 5
					r := newTraced(t, how, nil, flow.Step("glue", arrivals, with(store(), of)), quick())
					for i := range 2 * of {
						p, headers := parcel{ID: string(rune('a' + i)), Kind: "one trace"}, []string{"traceparent", outside}
						if i%2 == 1 {
							p.Kind, headers = "many", nil
						}
						r.give("arrivals", "", p, headers...)
						r.wait(time.Second)
					}
					r.stop()
					spans := r.traces.Spans()
					aggregates := all(spans, "aggregate glue")
					if len(aggregates) != 2 {
						t.Fatalf("%d aggregates in\n%s", len(aggregates), tree(spans))
					}
					for _, a := range aggregates {
						one := a.SpanContext.TraceID().String() == outsideTrace
						if len(a.Links) != of || a.Get(tracing.BatchCount) != "5" || one != a.Parent.IsValid() {
							t.Errorf("%d links, count %s, parent %v", len(a.Links), a.Get(tracing.BatchCount), a.Parent.SpanID())
						}
						for _, m := range all(spans, "process arrivals") {
							member := (m.SpanContext.TraceID().String() == outsideTrace) == one
							if slices.ContainsFunc(a.Links, linkedTo(m)) != member {
								t.Errorf("linked to %v: %v", m.SpanContext.SpanID(), !member)
							}
						}
					}
					if aggregates[0].SpanContext.TraceID() == aggregates[1].SpanContext.TraceID() {
						t.Error("both aggregates are in one trace")
					}
					for _, out := range r.on("stickers") {
						send := slices.IndexFunc(spans, func(s leattest.Span) bool { return traceparent(s.SpanContext) == out.Headers["traceparent"] })
						if send < 0 || spans[send].Name != "send stickers" {
							t.Errorf("what leaves carries %s; want its send span", out.Headers["traceparent"])
						}
						if m := out.Headers[channel.HeaderMembers]; m != "" {
							t.Errorf("the store's own header leaves with it: %s", m)
						}
					}
				}, claims, routed)
			})
		}
	}
}

// A group of more members than a span links to: their number is there all the same.
func TestTraceManyMembers(t *testing.T) {
	for name, g := range map[string]*aggregator.Aggregator[parcel, sticker]{
		"combined": glue(&elsewhere{}), "folded": counting(&elsewhere{}, 300),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "combined" {
				g.Size = 300
			}
			everyWay(t, func(t *testing.T, how string) {
				r := newTraced(t, how, nil, flow.Step("glue", arrivals, g), quick())
				for i := range 300 {
					r.giveRaw("arrivals", string(rune(i+0x4e00)), "", []byte(`{"Kind":"a"}`))
				}
				r.wait(time.Minute)
				r.stop()
				a := find(t, r.traces.Spans(), "aggregate glue")
				if len(a.Links) != tracing.MaxLinks || a.Get(tracing.BatchCount) != "300" {
					t.Errorf("%d links, count %s; want %d and 300", len(a.Links), a.Get(tracing.BatchCount), tracing.MaxLinks)
				}
			}, claims)
		})
	}
}

// A process dies between the completion of a group and its release; another releases it when the member
// comes again. The aggregate is linked to every member, those of the dead one too.
func TestTraceAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, store, x := &leattest.World{}, &elsewhere{}, &leattest.Traces{}
		start := func() (*leattest.Instance, *flow.Handle) {
			i := world.Instance(0, false)
			f := mustNew(t, "f", flow.Step("glue", arrivals, glue(i.AggregatorStore(store))), flow.Tracing(x.Config()), quick())
			h := must(f.Start(t.Context(), i, i))(t)
			synctest.Wait()
			return i, h
		}
		put := func(id string) {
			world.Put("arrivals", id, `{"Kind":"a"}`)
			synctest.Wait()
		}
		first, h := start()
		put("1")
		first.Kill()
		h.Stop()

		second, h := start()
		second.Fault = func(what string) error {
			if strings.HasPrefix(what, "publish") {
				second.Kill()
				return leattest.ErrKilled
			}
			return nil
		}
		put("2")
		h.Stop()
		if n := len(world.Log("stickers")); n != 0 {
			t.Fatalf("%d messages left the process that died", n)
		}

		third, h := start()
		time.Sleep(time.Minute)
		synctest.Wait()
		h.Stop()
		third.Kill()
		out := world.Log("stickers")
		if len(out) != 1 {
			t.Fatalf("%d messages left; want 1, in\n%s", len(out), tree(x.Spans()))
		}
		spans := x.Spans()
		sent := slices.IndexFunc(spans, func(s leattest.Span) bool { return traceparent(s.SpanContext) == out[0].Metadata["traceparent"] })
		if sent < 0 {
			t.Fatalf("what left carries %s, in\n%s", out[0].Metadata["traceparent"], tree(spans))
		}
		by := slices.IndexFunc(spans, func(s leattest.Span) bool { return s.SpanContext.SpanID() == spans[sent].Parent.SpanID() })
		if by < 0 || spans[by].Name != "aggregate glue" || len(spans[by].Links) != 2 {
			t.Fatalf("it was sent below %+v, in\n%s", spans[by], tree(spans))
		}
		for _, id := range []string{"1", "2"} {
			if !slices.ContainsFunc(spans, func(s leattest.Span) bool {
				return s.Name == "process arrivals" && s.Get(tracing.MessageID) == id && slices.ContainsFunc(spans[by].Links, linkedTo(s))
			}) {
				t.Errorf("the aggregate is not linked to member %s, in\n%s", id, tree(spans))
			}
		}
	})
}
