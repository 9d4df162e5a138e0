package flow_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/tracing"
)

// A flow that is ExactlyOnce is traced and measured as any other. A send ends with its commit, and a
// commit that fails is an event of every send in it. Breaks if a span ends before the commit, if what is
// given back has no end, or if a commit that failed is not measured.
func TestExactlyOnceTraces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &leattest.Traces{}
		c := &caller{fail: func(id string, _ int) error {
			if id == "p2" {
				return channel.Permanent(errFlaky)
			}
			return nil
		}}
		v := &vault{T: t, bank: &bank{took: time.Second}}
		v.fail = func(call int, _ []adapters.Finished, _ []*adapters.Outgoing) error {
			if call == 1 || call > 3 {
				return errWire
			}
			return nil
		}
		v.run(quick(), flow.Tracing(x.Config()), flow.Step("sort", arrivals, forwarder()), flow.Step("end", sorted, c.block()))
		if err := v.h.Pause("sort"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		v.give("arrivals", "", "p1", "p2")
		if err := v.h.Resume("sort"); err != nil {
			t.Fatal(err)
		}
		v.wait(time.Minute)
		v.give("arrivals", "", "p3")
		v.wait(10 * time.Second)
		v.stop()
		compareTree(t, x.Spans(), `
process arrivals @sort = returned ! transient
	send sorted @sort ! publish`+strings.Repeat(", resend", 8)+`
process arrivals @sort = sent
	send sorted @sort, resend
		process sorted @end = dead ! permanent
			send dead @end
process arrivals @sort = sent
	send sorted @sort, resend
		process sorted @end = sent
			send stickers @end
`)
		commits := map[string]time.Duration{"send sorted": 2010 * time.Millisecond, "send stickers": 3010 * time.Millisecond, "send dead": 3010 * time.Millisecond}
		for _, s := range x.Spans() {
			if want, ok := commits[s.Name]; ok && s.StartTime.Sub(began) < time.Minute && s.EndTime.Sub(began) != want {
				t.Errorf("%s ended after %v, want %v: with its commit", s.Name, s.EndTime.Sub(began), want)
			}
		}
		for _, m := range []struct {
			instrument string
			want       int64
			labels     []string
		}{
			{tracing.ConsumedMessages, 3, []string{tracing.Step, "sort"}},
			{tracing.SentMessages, 2, []string{tracing.Step, "end"}},
			{tracing.SentMessages, 2 + 8, []string{tracing.Step, "sort", tracing.ErrorType, "publish"}},
			{tracing.SentMessages, 2 + 2 + 8, []string{tracing.Step, "sort"}},
			{tracing.Outcomes, 1, []string{tracing.Step, "sort", tracing.Outcome, "returned"}},
		} {
			if got := x.Sum(t, m.instrument, m.labels...); got != m.want {
				t.Errorf("%s %q is %d; want %d", m.instrument, m.labels, got, m.want)
			}
		}
		x.Check(t, v.flow)
		x.Accounts(t, v.flow)
	})
}
