package flow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

// failing is a block that notes when it was tried and fails as often as it is told.
func failing(began *time.Time, at *[]time.Duration, err func(attempt int) error) block[parcel] {
	return block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
		*at = append(*at, time.Since(*began).Round(time.Millisecond))
		if err := err(m.Attempt()); err != nil {
			return channel.Result{}, err
		}
		return channel.Done(), nil
	}, channel.Shape{}}
}

func seconds(s ...float64) (ds []time.Duration) {
	for _, x := range s {
		ds = append(ds, time.Duration(x*float64(time.Second)))
	}
	return ds
}

func TestRetriesPauseAsThePolicySays(t *testing.T) {
	always := func(err error) func(int) error { return func(int) error { return err } }
	errOther := errors.New("other")
	for name, x := range map[string]struct {
		policy flow.Policy
		err    func(attempt int) error
		at     []time.Duration
		counts string
	}{
		"exponential, then dead": {
			flow.Policy{Attempts: 5, Backoff: flow.Backoff{First: time.Second, Cap: 5 * time.Second, Factor: 2}, DeadLetter: dead},
			always(errFlaky), seconds(0, 1, 3, 7, 12), "received=1 dead=1 retries=4",
		},
		"three attempts are the default": {quick(), always(errFlaky), seconds(0, 1, 2), "received=1 dead=1 retries=2"},
		"one attempt":                    {flow.Policy{Attempts: 1, DeadLetter: dead}, always(errFlaky), seconds(0), "received=1 dead=1"},
		"it succeeds": {
			quick(), func(n int) error {
				if n < 3 {
					return errFlaky
				}
				return nil
			}, seconds(0, 1, 2), "received=1 done=1 retries=2",
		},
		"permanent at once": {quick(), always(channel.Permanent(errFlaky)), seconds(0), "received=1 dead=1"},
		"later is not counted": {
			quick(), func() func(int) error {
				n := 0
				return func(attempt int) error {
					if n++; n <= 10 {
						if attempt != 1 {
							return errOther
						}
						return channel.Later(errFlaky, 10*time.Second)
					}
					return nil
				}
			}(), seconds(0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100), "received=1 done=1 later=10",
		},
		"later without a pause takes a second": {
			quick(), func() func(int) error {
				n := 0
				return func(int) error {
					if n++; n == 1 {
						return channel.Later(errFlaky, 0)
					}
					return nil
				}
			}(), seconds(0, 1), "received=1 done=1 later=1",
		},
		"the first rule that matches": {
			flow.Policy{DeadLetter: dead, Backoff: flow.Fixed(time.Second), Rules: []flow.Rule{
				{When: flow.When(errOther), Attempts: 9},
				{When: flow.When(errOther, errFlaky), Attempts: 2, Backoff: flow.Fixed(time.Minute)},
				{When: flow.When(errFlaky), Attempts: 7},
			}}, always(fmt.Errorf("wrapped: %w", errFlaky)), seconds(0, 60), "received=1 dead=1 retries=1",
		},
		"a rule's zeros are the policy's": {
			flow.Policy{DeadLetter: dead, Attempts: 2, Backoff: flow.Fixed(time.Second), Rules: []flow.Rule{{When: flow.When(errFlaky)}}},
			always(errFlaky), seconds(0, 1), "received=1 dead=1 retries=1",
		},
		"a rule that panics does not match": {
			flow.Policy{DeadLetter: dead, Backoff: flow.Fixed(time.Second), Rules: []flow.Rule{{When: func(error) bool { panic("when?") }, Attempts: 9}}},
			always(errFlaky), seconds(0, 1, 2), "received=1 dead=1 retries=2",
		},
		"OnRetry that panics": {
			flow.Policy{DeadLetter: dead, Backoff: flow.Fixed(time.Second), OnRetry: func(flow.Retry) { panic("no retry") }},
			always(errFlaky), seconds(0, 1, 2), "received=1 dead=1 retries=2",
		},
		"redeliver knows no end": {
			flow.Policy{Redeliver: true, Backoff: flow.Fixed(time.Second)}, func(n int) error {
				if n < 100 {
					return errFlaky
				}
				return nil
			}, nil, "received=1 done=1 retries=99",
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) {
				var at []time.Duration
				began := time.Now()
				fresh := x.err
				r := newRig(t, how, x.policy, flow.Step("a", arrivals, failing(&began, &at, fresh)))
				r.give("arrivals", "k", parcel{ID: "p1"})
				r.wait(time.Hour)
				r.is("a", x.counts)
				if x.at != nil && !slices.Equal(at, x.at) {
					t.Errorf("tried at %v, want %v", at, x.at)
				}
			}, claims)
		})
	}
}

// The pause is the message's own: the same whenever it is asked, another for another message.
func TestJitterIsTheMessagesOwn(t *testing.T) {
	pauses := func(t *testing.T, ids ...string) map[string]string {
		got := map[string]string{}
		synctest.Test(t, func(t *testing.T) {
			began := map[string]time.Time{}
			b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
				if _, ok := began[m.ID()]; !ok {
					began[m.ID()] = time.Now()
				}
				got[m.ID()] += fmt.Sprint(time.Since(began[m.ID()]), " ")
				return channel.Result{}, errFlaky
			}, channel.Shape{}}
			r := newRig(t, claims, flow.Policy{Attempts: 4, Backoff: flow.Exponential(time.Second, time.Minute), DeadLetter: dead},
				flow.Workers(1), flow.Step("a", arrivals, b))
			for _, id := range ids {
				r.give("arrivals", id, parcel{ID: id})
			}
			r.wait(time.Hour)
		})
		return got
	}
	first, second := pauses(t, "p1", "p2"), pauses(t, "p2", "p1")
	if first["p1"] != second["p1"] || first["p2"] != second["p2"] {
		t.Errorf("a message waits differently each time:\n%v\n%v", first, second)
	}
	if first["p1"] == first["p2"] {
		t.Errorf("two messages wait in step: %v", first)
	}
	if !strings.HasPrefix(first["p1"], "0s ") || len(strings.Fields(first["p1"])) != 4 {
		t.Errorf("tried at %v", first["p1"])
	}
}

func TestOnRetryIsTold(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var told []flow.Retry
		p := flow.Policy{DeadLetter: dead, Backoff: flow.Fixed(time.Minute), OnRetry: func(r flow.Retry) { told = append(told, r) }}
		r := newRig(t, how, p, flow.Step("a", arrivals, endpoint.Do(func(context.Context, parcel) error { return errFlaky })))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Hour)
		want := []flow.Retry{
			{Flow: "f", Step: "a", MessageID: "p1", Attempt: 1, Err: errFlaky, After: time.Minute},
			{Flow: "f", Step: "a", MessageID: "p1", Attempt: 2, Err: errFlaky, After: time.Minute},
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

// Over a direct hop the policy is that of the step that failed; the retry is the root's.
func TestThePolicyIsThatOfTheStepThatFailed(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		roots, children := 0, 0
		r := newRig(t, how, flow.Policy{Attempts: 2, DeadLetter: dead}, flow.Direct(sorted),
			flow.Step("root", arrivals, router.Filter(func(parcel) bool { roots++; return true }, sorted)),
			flow.Step("child", sorted, endpoint.Do(func(context.Context, parcel) error { children++; return errFlaky }),
				flow.Policy{Attempts: 5, Backoff: flow.Fixed(time.Second), DeadLetter: "child.dead"}))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Hour)
		if roots != 5 || children != 5 || len(r.on("child.dead")) != 1 || len(r.on("dead")) != 0 {
			t.Errorf("root ran %d, child %d times; %d in the child's dead letter, %d in the flow's", roots, children, len(r.on("child.dead")), len(r.on("dead")))
		}
		r.is("root", "received=1 dead=1 retries=4")
		r.is("child", "received=0")
	})
}

// 1 % of the messages fail with backoffs of 1 s and 2 s. The others' throughput must fall by less than
// 5 %: a retry that held its worker would cost three seconds for every hundred messages.
func TestPoisonDoesNotSlowOthers(t *testing.T) {
	const n = 10_000
	took := func(t *testing.T, how string, poison int) (d time.Duration) {
		began, last, done := time.Now(), time.Time{}, 0
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			time.Sleep(time.Millisecond) // of work
			if m.Body.N < poison {
				return channel.Result{}, errFlaky
			}
			done++
			last = time.Now()
			return channel.Done(), nil
		}, channel.Shape{Effect: channel.Acts}}
		r := newRig(t, how, flow.Policy{Backoff: flow.Backoff{First: time.Second, Factor: 2}, DeadLetter: dead}, flow.Workers(1),
			flow.Step("a", arrivals, b))
		for i := range n {
			p := parcel{ID: fmt.Sprint("p", i), N: i % 100}
			r.give("arrivals", p.ID, p)
		}
		r.wait(time.Hour)
		if want := n - n/100*poison; done != want {
			t.Errorf("%d of %d good ones were done", done, want)
		}
		r.is("a", map[int]string{0: "received=10000 done=10000", 1: "received=10000 done=9900 dead=100 retries=200"}[poison])
		return last.Sub(began)
	}
	everyWay(t, func(t *testing.T, how string) {
		healthy, poisoned := took(t, how, 0), took(t, how, 1)
		rate := float64(n-n/100) / poisoned.Seconds() / (float64(n) / healthy.Seconds())
		t.Logf("healthy %v, with 1 %% of poison %v: the others' rate is %.3f of what it was", healthy, poisoned, rate)
		if rate < 0.95 {
			t.Errorf("1 %% of poison lowers the others' rate to %.3f, want 0.95", rate)
		}
	}, claims)
}
