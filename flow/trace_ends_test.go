package flow_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
	"github.com/leat-go/leat/translator"
)

// acting is an end whose function is told which try this is.
func acting(act func(ctx context.Context, try int) error) endpoint.ServiceActivator[parcel] {
	return endpoint.DoMessage(func(m channel.Message[parcel]) error { return act(m.Context(), m.Attempt()) })
}

// What a message comes to in a trace, one way after the other. Breaks if an error shows at the wrong span
// or under the wrong class, if a pause is no event, or if a span is never ended.
func TestTraceEnds(t *testing.T) {
	for name, x := range map[string]struct {
		parts []flow.Part
		give  []string // headers
		want  string
	}{
		"permanent": {[]flow.Part{flow.Step("do", arrivals, acting(func(context.Context, int) error { return channel.Permanent(errFlaky) }))}, nil, `
process arrivals @do = dead ! permanent
	send dead @do
`},
		"no attempt is left": {[]flow.Part{flow.Step("do", arrivals, acting(func(context.Context, int) error { return errFlaky }))}, nil, `
process arrivals @do = dead ! transient, retry, retry
	send dead @do
`},
		"panic": {[]flow.Part{flow.Step("do", arrivals, acting(func(_ context.Context, try int) error {
			if try == 1 {
				panic("at the first")
			}
			return nil
		}))}, nil, `
process arrivals @do = done, retry
`},
		"panic for good": {[]flow.Part{flow.Step("do", arrivals, acting(func(context.Context, int) error { panic("always") }))}, nil, `
process arrivals @do = dead ! panic, retry, retry
	send dead @do
`},
		"expired on arrival": {[]flow.Part{flow.Step("do", arrivals, done[parcel]())}, []string{channel.HeaderExpires, "1999-01-01T00:00:00Z"}, `
process arrivals @do = expired ! expired
	send dead @do
`},
		"expired, with a place to go": {
			[]flow.Part{flow.Step("do", arrivals, done[parcel](), flow.Around(channel.Expiry{To: "late"}))},
			[]string{channel.HeaderExpires, "1999-01-01T00:00:00Z"},
			`
process arrivals @do = expired
	send late @do
`,
		},
		"invalid": {[]flow.Part{flow.Step("do", stickers, done[sticker](), flow.Around(channel.InvalidChannel{To: "invalid"}))}, nil, `
process stickers @do = invalid
	send invalid @do
`},
		"dropped": {[]flow.Part{flow.Step("do", arrivals, block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
			return channel.Drop("not\nours"), nil
		}, channel.Shape{}})}, nil, `
process arrivals @do = dropped (not·ours)
`},
		"undeclared": {[]flow.Part{flow.Step("do", arrivals, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Forward(sorted, m)), nil
		}, channel.Shape{}})}, nil, `
process arrivals @do = dead ! permanent
	send dead @do
`},
		"it fails behind a direct hop": {[]flow.Part{
			flow.Step("sort", arrivals, translator.Map(same, sorted)),
			flow.Step("do", sorted, acting(func(_ context.Context, try int) error {
				if try < 2 {
					return errFlaky
				}
				return channel.Permanent(errFlaky)
			})), flow.Direct(sorted),
		}, nil, `
process arrivals @sort = dead ! permanent, retry
	process sorted @do direct ! permanent
	process sorted @do direct ! transient
	send dead @do
`},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				r := newTraced(t, how, nil, append(x.parts, quick())...)
				if name == "invalid" {
					r.giveRaw("stickers", "1", "k", []byte("{"), x.give...)
				} else {
					r.give("arrivals", "k", parcel{ID: "1"}, x.give...)
				}
				r.wait(2 * time.Minute)
				r.looks(x.want)
				r.traces.Check(t, r.flow)
				for _, l := range r.on("dead") {
					if got := l.Headers["traceparent"]; got != traceparent(find(t, r.traces.Spans(), "send dead").SpanContext) {
						t.Errorf("the dead letter carries %s; want the span that sent it", got)
					}
				}
			}, claims, routed)
		})
	}
}

// A store that is down is nobody's fault: the pauses are events, and no attempts.
func TestTraceLater(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		try := 0
		r := newTraced(t, how, nil, flow.Step("do", arrivals, acting(func(context.Context, int) error {
			if try++; try < 3 {
				return channel.Later(errFlaky, time.Minute)
			}
			return nil
		})), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Hour)
		r.looks(`
process arrivals @do = done, later, later
`)
		later := event(find(t, r.traces.Spans(), "process arrivals"), 0)
		if later.Get(tracing.ErrorType) != "later" || later.Get(tracing.Pause) != "60" {
			t.Errorf("the event says %v", later.Attributes)
		}
	})
}

// A publish that fails is an event of the send, not an attempt.
func TestTraceResend(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, translator.Map(same, sorted)), flow.Step("end", sorted, done[parcel]()), quick())
		r.fail = func(topic, _ string, try int) error {
			if topic == "sorted" && try < 3 {
				return errWire
			}
			return nil
		}
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Minute)
		r.looks(`
process arrivals @sort = sent
	send sorted @sort, resend, resend
		process sorted @end = done
`)
	})
}

// A settle that fails has everything sent again: an event, and a second send below the same span.
func TestTraceSettleFails(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		try := 0
		b := sendsTo(channel.Out("", sorted))
		b.process = func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Forward(sorted, m)).Settle(func(_ context.Context, err error) error {
				if try++; err == nil && try == 1 {
					return errFlaky
				}
				return nil
			}), nil
		}
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, b), quick())
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Minute)
		r.looks(`
process arrivals @sort = sent, settle failed
	send sorted @sort
	send sorted @sort
`)
		if e := event(find(t, r.traces.Spans(), "process arrivals"), 0); e.Get(tracing.ErrorType) != "settle" {
			t.Errorf("the event says %v; want the class settle", e.Attributes)
		}
	})
}

// What may be lost and is: its send has failed, its cause has not.
func TestTraceBestEffortLost(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		out := channel.Out("copy", sorted)
		out.BestEffort = true
		b := sendsTo(out)
		b.process = func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Forward(sorted, m).BestEffort()), nil
		}
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, b), quick())
		r.fail = func(topic, _ string, _ int) error {
			if topic == "sorted" {
				return errWire
			}
			return nil
		}
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Minute)
		r.looks(`
process arrivals @sort = sent
	send sorted @sort ! publish
`)
		if n := r.traces.Sum(t, tracing.Lost, tracing.Step, "sort"); n != 1 {
			t.Errorf("%d best-effort deliveries lost; want 1", n)
		}
	})
}

// What waits for a retry when the flow stops is given back, and received counts on.
func TestTraceReturned(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("do", arrivals, acting(func(context.Context, int) error { return errFlaky })),
			flow.Policy{Backoff: flow.Fixed(time.Hour), DeadLetter: dead})
		r.give("arrivals", "k", parcel{ID: "1"})
		r.wait(time.Minute)
		if n := r.traces.Sum(t, tracing.Received, tracing.Step, "do"); n != 1 {
			t.Errorf("%d received; want 1", n)
		}
		r.looks(`
process arrivals @do = returned ! transient, retry
`)
		if n := r.traces.Sum(t, tracing.Received, tracing.Step, "do"); n != 1 {
			t.Errorf("%d received after it was given back: the number fell", n)
		}
		if n := r.traces.Sum(t, tracing.Outcomes, tracing.Step, "do", tracing.Outcome, "returned"); n != 1 {
			t.Errorf("%d returned; want 1", n)
		}
		r.traces.Accounts(t, r.flow)
	}, claims, oneByOne)
}

// A whole group dies, by the member that completed it or by the clock, whichever claims it first. Each
// letter is below the span that failed, and in the trace of the member it is a copy of, or linked to it.
func TestTraceGroupDies(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		g := glue(&aggregator.Memory{})
		g.Combine = func(string, []parcel) (sticker, error) { return sticker{}, channel.Permanent(errFlaky) }
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, g), quick())
		r.give("arrivals", "", parcel{ID: "1", Kind: "a"})
		r.wait(time.Second)
		r.give("arrivals", "", parcel{ID: "2", Kind: "a"})
		r.wait(time.Minute)
		r.stop()
		spans := r.traces.Spans()
		letters := all(spans, "send dead")
		if len(letters) != 2 {
			t.Fatalf("%d letters in\n%s", len(letters), tree(spans))
		}
		for _, l := range letters {
			by := slices.IndexFunc(spans, func(s leattest.Span) bool { return s.SpanContext.SpanID() == l.Parent.SpanID() })
			if by < 0 || spans[by].Get(tracing.Outcome) != "dead" || spans[by].Get(tracing.ErrorType) != "permanent" {
				t.Errorf("letter %s is below nothing that died, in\n%s", l.Get(tracing.MessageID), tree(spans))
			}
			member := slices.IndexFunc(spans, func(s leattest.Span) bool {
				return s.Name == "process arrivals" && s.Get(tracing.MessageID) == l.Get(tracing.MessageID)
			})
			if m := spans[member]; !sameTrace(m, l) && !slices.ContainsFunc(l.Links, linkedTo(m)) {
				t.Errorf("letter %s leads to no member, in\n%s", l.Get(tracing.MessageID), tree(spans))
			}
		}
	})
}

// A timer that fails for good: its span, and its dead letters, linked to the members.
func TestTraceTimerDies(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		g := glue(&aggregator.Memory{})
		g.Combine = func(string, []parcel) (sticker, error) { return sticker{}, errFlaky }
		r := newTraced(t, how, nil, flow.Step("glue", arrivals, g), quick())
		r.give("arrivals", "", parcel{ID: "1", Kind: "a"})
		r.wait(2 * time.Hour)
		r.looks(`
fire glue/timeout @glue = dead ! transient, retry, retry
	send dead @glue ~1
process arrivals @glue = held
`)
	})
}

// A dead letter that was put back begins a new trace, linked to the send of its letter, over the broker and
// in the process; or goes on with that trace.
func TestTracePutBack(t *testing.T) {
	for follow, want := range map[bool]string{
		false: `
process arrivals @do = dead ! permanent
	send dead @do
process arrivals @do = done ~1
`, true: `
process arrivals @do = dead ! permanent
	send dead @do
		process arrivals @do = done
`,
	} {
		for _, way := range []string{"broker", "process"} {
			t.Run(way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x, broken := &leattest.Traces{}, true
					c := x.Config()
					c.FollowReplays = follow
					broker := &memory.Broker{}
					defer broker.Close()
					f := mustNew(t, "f", flow.Step("do", arrivals, acting(func(context.Context, int) error {
						if broken {
							return channel.Permanent(errors.New("broken"))
						}
						return nil
					})), flow.Tracing(c), quick())
					letters := must(broker.Subscriber("desk").Subscribe(t.Context(), "dead"))(t)
					r := (&rig{T: t, How: claims, Broker: broker}).run(f)
					r.give("arrivals", "k", parcel{ID: "1"}, "tracestate", "old=1")
					letter := <-letters
					letter.Ack()
					broken = false
					if way == "process" {
						if err := r.h.PutBack(t.Context(), letter); err != nil {
							t.Fatal(err)
						}
					} else {
						topic, m, err := flow.PutBack(letter)
						if err != nil {
							t.Fatal(err)
						}
						if err := r.pub.Publish(topic, m); err != nil {
							t.Fatal(err)
						}
					}
					r.wait(time.Second)
					tracedRig{r, x}.looks(want)
					send := find(t, x.Spans(), "send dead")
					for _, s := range x.Of(f, "do") {
						if len(s.Links) > 0 && !linkedTo(send)(s.Links[0]) {
							t.Error("it is linked to another span than its letter's send")
						}
					}
				})
			})
		}
	}
}
