package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
)

func to(n int) Delivery { return To(Topic[int]("out"), n) }

func bodies(r Result) (ns []int) {
	for i := range r.Len() {
		ns = append(ns, r.At(i).Body().(int))
	}
	return ns
}

func TestResult(t *testing.T) {
	why := errors.New("why")
	for _, c := range []struct {
		r       Result
		outcome Outcome
		name    string
		bodies  []int
	}{
		{Result{}, Unsaid, "unsaid", nil},
		{Send(to(1)), Sent, "sent", []int{1}},
		{Send(to(1), to(2), to(3)), Sent, "sent", []int{1, 2, 3}},
		{Drop("reason"), Dropped, "dropped", nil},
		{Hold(), Held, "held", nil},
		{Done(), Finished, "done", nil},
		{Dead(why), Buried, "dead", nil},
		{Stream(func(func(Delivery, error) bool) {}), Streamed, "streamed", nil},
		{Send(to(1)).As(Expired), Expired, "expired", []int{1}},
		{Send(to(1)).As(Invalid), Invalid, "invalid", []int{1}},
		{Send(to(1)).As(99), 99, "outcome 99", []int{1}},
		{Hold().And(), Held, "held", nil},
		{Hold().And(to(1), to(2)), Held, "held", []int{1, 2}},
		{Drop("reason").And(to(1)).And(to(2)), Dropped, "dropped", []int{1, 2}},
		{Sequence(NewMessage("1", 1), nil), Unsaid, "unsaid", nil},
	} {
		if c.r.Outcome() != c.outcome || c.outcome.String() != c.name || !slices.Equal(bodies(c.r), c.bodies) {
			t.Errorf("%v with %v, want %s with %v", c.r.Outcome(), bodies(c.r), c.name, c.bodies)
		}
	}
	r := Drop("reason").Releases(2).Releases(3)
	if r.Reason() != "reason" || r.Released() != 5 || r.Settler() != nil || r.Deliveries() != nil {
		t.Errorf("%q, %d released", r.Reason(), r.Released())
	}
	if err, entries := r.Buried(); err != nil || entries != nil {
		t.Errorf("buried %v, %v", err, entries)
	}
	r = Dead(why, NewEntry("1", "", nil, nil))
	if err, entries := r.Buried(); !errors.Is(err, why) || len(entries) != 1 || entries[0].ID() != "1" {
		t.Errorf("buried %v, %v", err, entries)
	}
	r = Stream(func(yield func(Delivery, error) bool) { yield(to(7), nil) })
	for d, err := range r.Deliveries() {
		if d.Body() != 7 || err != nil {
			t.Errorf("streamed %v, %v", d.Body(), err)
		}
	}
}

// Two results made of one do not share what they add.
func TestResultAndIsAValue(t *testing.T) {
	ds := make([]Delivery, 1, 10)
	ds[0] = to(2)
	base := Send(to(1), ds...)
	a, b := base.And(to(3)), base.And(to(4), to(5))
	if got := fmt.Sprint(bodies(base), bodies(a), bodies(b)); got != "[1 2] [1 2 3] [1 2 4 5]" {
		t.Error(got)
	}
	if ds = ds[:2]; ds[1].Topic() != "" {
		t.Error("And wrote into the caller's slice")
	}
}

func TestSequenceOwnsParts(t *testing.T) {
	ds := []Delivery{to(0), to(1), to(2)}
	r := Sequence(NewMessage("1", 1), ds).And(to(9))
	if !slices.Equal(bodies(r), []int{0, 1, 2, 9}) || r.At(2).Get(HeaderSequenceIndex) != "2" || r.At(3).Get(HeaderSequenceIndex) != "" {
		t.Errorf("%v", bodies(r))
	}
}

// Each settle runs once, the innermost first, and sees what went wrong before it.
func TestSettle(t *testing.T) {
	errPublish, errInner, errOuter := errors.New("publish"), errors.New("inner"), errors.New("outer")
	for _, c := range []struct {
		name                  string
		publish, inner, outer error
		saw                   string
		want                  []error
	}{
		{"all is well", nil, nil, nil, "inner <nil> outer <nil> ", nil},
		{"not published", errPublish, nil, nil, "inner publish outer publish ", nil},
		{"inner fails", nil, errInner, nil, "inner <nil> outer inner ", []error{errInner}},
		{"outer fails", nil, nil, errOuter, "inner <nil> outer <nil> ", []error{errOuter}},
		{"all fail", errPublish, errInner, errOuter, "inner publish outer publish\ninner ", []error{errInner, errOuter}},
	} {
		saw := ""
		settle := func(name string, fails error) func(context.Context, error) error {
			return func(ctx context.Context, err error) error {
				if ctx != t.Context() {
					t.Errorf("%s: another context", c.name)
				}
				saw += fmt.Sprint(name, " ", err, " ")
				return fails
			}
		}
		r := Hold().Settle(settle("inner", c.inner)).Settle(nil).Settle(settle("outer", c.outer))
		err := r.Settler()(t.Context(), c.publish)
		if saw != c.saw || (err == nil) != (c.want == nil) || errors.Is(err, errPublish) {
			t.Errorf("%s: %q, %v; want %q, %v", c.name, saw, err, c.saw, c.want)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v is not in %v", c.name, want, err)
			}
		}
	}
	if r := Hold().Settle(nil); r.Settler() != nil {
		t.Error("a nil settle is one")
	}
}

func BenchmarkSequence(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		m := NewMessage("1", 1)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ds := make([]Delivery, n)
				for i := range ds {
					ds[i] = To(Topic[struct{}]("parts"), struct{}{})
				}
				if r := Sequence(m, ds); r.Len() != n {
					b.Fatal(r.Len())
				}
			}
		})
	}
}
