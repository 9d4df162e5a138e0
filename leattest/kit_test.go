package leattest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

func newFlow(t *testing.T, parts ...flow.Part) *flow.Flow {
	t.Helper()
	f, err := flow.New("f", append(parts, quiet)...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var toDead = flow.Policy{Attempts: 3, Backoff: flow.Fixed(time.Second), DeadLetter: "dead"}

// A flow that is ExactlyOnce is tested like any other: the World has no transactions.
func TestKitRunsAFlowThatIsExactlyOnce(t *testing.T) {
	f := newFlow(t, flow.ExactlyOnce(), flow.Step("invoice", orders, translator.Map(toInvoice, invoices)), toDead)
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, orders, "1", order{"A", []string{"a"}})
		leattest.Send(k, orders, "2", order{ID: "B"})
		k.Wait(time.Minute)
		if got, dead := leattest.Got(k, invoices), k.Dead(); len(got) != 1 || len(dead) != 1 {
			t.Errorf("invoices %v, dead letters %v; want one of each", got, dead)
		}
	})
}

func TestKitOverDirectHopsRetriesAndTime(t *testing.T) {
	tries := map[string]int{}
	f := newFlow(t,
		flow.Step("split", orders, router.Split(split, lines)),
		flow.Step("pack", lines, &aggregator.Aggregator[line, pack]{
			Correlate: func(l line) string { return l.OrderID }, Combine: combine, To: packed,
			Size: 3, Timeout: time.Hour, Store: &aggregator.Memory{},
		}),
		flow.Step("invoice", packed, translator.Map(func(p pack) (invoice, error) {
			if tries[p.ID]++; tries[p.ID] == 1 {
				return invoice{}, errors.New("once")
			}
			return invoice{p.ID, len(p.SKUs)}, nil
		}, invoices)),
		flow.Direct(lines), flow.Prefix("test."), toDead)
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, orders, "1", order{"A", []string{"a", "b", "c"}}, channel.HeaderKey, "k")
		leattest.Send(k, orders, "2", order{"B", []string{"a"}})
		if got := leattest.Got(k, packed); len(got) != 1 || got[0].ID != "A" {
			t.Errorf("packed %v at once; want A", got)
		}
		if got := leattest.Got(k, invoices); len(got) != 0 {
			t.Errorf("invoices %v before the retry", got)
		}
		k.Wait(time.Hour + time.Minute)
		if got := leattest.Got(k, invoices); !slices.Equal(got, []invoice{{"A", 3}, {"B", 1}}) {
			t.Errorf("invoices %v; want A of 3 and B of 1", got)
		}
		if m := k.Log("invoices"); len(m) != 2 || len(k.World.Log("test.invoices")) != 2 {
			t.Errorf("log of %d messages; want 2 on test.invoices", len(m))
		}
		if c := k.Counts()["pack"]; c.Held != 3 || c.Released != 3 {
			t.Errorf("pack: %v; want 3 held and released", c)
		}
	})
}

// A body that its codec does not keep passes a direct hop in production and not in a test.
func TestKitRoundTripsBodies(t *testing.T) {
	type secretive struct{ Shown, hidden string }
	const in, direct channel.Topic[secretive] = "in", "direct"
	var seen secretive
	f := newFlow(t,
		flow.Step("a", in, translator.Map(func(s secretive) (secretive, error) { return secretive{s.Shown, "x"}, nil }, direct)),
		flow.Step("b", direct, endpoint.Do(func(_ context.Context, s secretive) error { seen = s; return nil })),
		flow.Direct(direct), toDead)
	leattest.Run(t, f, func(k *leattest.Kit) { leattest.Send(k, in, "1", secretive{Shown: "s"}) })
	if seen.Shown != "s" || seen.hidden != "" {
		t.Errorf("body %+v after a direct hop; want what JSON keeps of it", seen)
	}
}

func TestKitDirectWayIn(t *testing.T) {
	f := newFlow(t, flow.Step("invoice", orders, translator.Map(toInvoice, invoices)), flow.Direct(orders), toDead)
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, orders, "1", order{"A", []string{"a"}})
		if got := leattest.Got(k, invoices); len(got) != 1 {
			t.Errorf("invoices %v; want one", got)
		}
	})
}

func TestKitDrainShowsWhatTheEndBrings(t *testing.T) {
	f := newFlow(t, flow.Step("pack", lines, &aggregator.Aggregator[line, pack]{
		Correlate: func(l line) string { return l.OrderID }, Combine: combine, To: packed,
		CompleteOnDrain: true, Store: &aggregator.Memory{},
	}), toDead)
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, lines, "1", line{"A", "a"})
		k.Drain()
		if got := leattest.Got(k, packed); len(got) != 1 {
			t.Errorf("packed %v after the drain; want one", got)
		}
	})
}

// A recorder is a test that is expected to fail.
type recorder struct {
	testing.TB

	failures []string
	cleanups []func()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }
func (r *recorder) Cleanup(f func())  { r.cleanups = append(r.cleanups, f) }

// failures runs a test in a bubble and gives what it fails with.
func failures(t *testing.T, test func(r *recorder)) []string {
	t.Helper()
	r := &recorder{}
	synctest.Test(t, func(t *testing.T) {
		r.TB = t
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				for _, f := range slices.Backward(r.cleanups) {
					f()
				}
			}()
			test(r)
		}()
		<-done
	})
	return r.failures
}

func TestKitFailsTheTest(t *testing.T) {
	invoicing := func() *flow.Flow {
		return newFlow(t, flow.Step("invoice", orders, translator.Map(toInvoice, invoices)), toDead)
	}
	for _, x := range []struct {
		name string
		want string // in the one failure; "": none
		test func(r *recorder)
	}{
		{"nothing is wrong", "", func(r *recorder) {
			leattest.Send(leattest.Start(r, invoicing()), orders, "1", order{Lines: []string{"a"}})
		}},
		{"a dead letter nobody asked for", "dead letter 7, from step invoice: order has no lines", func(r *recorder) {
			leattest.Send(leattest.Start(r, invoicing()), orders, "7", order{})
		}},
		{"a dead letter somebody asked for", "", func(r *recorder) {
			k := leattest.Start(r, invoicing())
			leattest.Send(k, orders, "7", order{})
			k.Wait(time.Minute)
			k.Dead()
		}},
		{"a message that is left", "messages are left on the broker: orders 7", func(r *recorder) {
			k := leattest.Start(r, invoicing())
			if err := k.Handle.Pause("invoice"); err != nil {
				t.Error(err)
			}
			leattest.Send(k, orders, "7", order{Lines: []string{"a"}})
		}},
		{"a topic the flow does not send to", "sends nothing to topic lines", func(r *recorder) {
			leattest.Got(leattest.Start(r, invoicing()), lines)
		}},
		{"a topic the flow does not read", "no step reads it", func(r *recorder) {
			leattest.Send(leattest.Start(r, invoicing()), lines, "1", line{})
		}},
		{"headers to a direct topic", "has none", func(r *recorder) {
			f := newFlow(t, flow.Step("invoice", orders, translator.Map(toInvoice, invoices)), flow.Direct(orders), toDead)
			leattest.Send(leattest.Start(r, f), orders, "1", order{}, "a", "b")
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			got := failures(t, x.test)
			switch {
			case x.want == "" && len(got) > 0, x.want != "" && len(got) != 1:
				t.Errorf("failures %q; want %q", got, x.want)
			case x.want != "" && !strings.Contains(got[0], x.want):
				t.Errorf("failure %q; want %q in it", got[0], x.want)
			}
		})
	}
}
