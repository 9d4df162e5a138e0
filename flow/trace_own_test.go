package flow_test

import (
	"context"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/tracing"
)

func TestTraceExpiredAtWork(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newTraced(t, how, nil, flow.Step("do", arrivals, acting(func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() })), quick())
		r.give("arrivals", "k", parcel{ID: "1"}, channel.HeaderExpires, "2000-01-01T00:01:00Z")
		r.wait(2 * time.Minute)
		r.looks(`
process arrivals @do = expired ! expired
	send dead @do
`)
		if d := durations(t, r.traces, tracing.ProcessDuration); d["do/arrivals/expired"] == "" {
			t.Errorf("durations %v; want one of class expired", d)
		}
	})
}

func TestTraceOwnBaggage(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		b := sendsTo(channel.Out("", sorted))
		b.process = func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.To(sorted, m.Body).Set("baggage", "c=3")), nil
		}
		r := newTraced(t, how, nil, flow.Step("sort", arrivals, b), flow.Step("end", sorted, done[parcel]()), quick())
		r.give("arrivals", "k", parcel{ID: "1"}, "baggage", "b=2")
		r.wait(time.Second)
		r.looks(`
process arrivals @sort = sent
	send sorted @sort
		process sorted @end = done
`)
		if got := r.on("sorted")[0].Headers["baggage"]; got != "c=3" {
			t.Errorf("baggage %q", got)
		}
	})
}
