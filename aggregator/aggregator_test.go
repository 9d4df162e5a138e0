package aggregator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
)

// say is what a result came to in a few words.
func say(r channel.Result, err error) string {
	if err != nil {
		return "error"
	}
	words := []string{r.Outcome().String()}
	if r.Reason() != "" {
		words = append(words, r.Reason())
	}
	for i := range r.Len() {
		words = append(words, "to", r.At(i).Topic())
		if why := r.At(i).Get(channel.HeaderCompleted); why != "" {
			words = append(words, "by", why)
		}
	}
	if n := r.Released(); n > 0 {
		words = append(words, "releases", strconv.Itoa(n))
	}
	return strings.Join(words, " ")
}

func TestProcess(t *testing.T) {
	type step struct {
		id   string
		line line
		want string
	}
	of := func(order string) line { return line{Order: order} }
	for _, x := range []struct {
		name  string
		set   func(a *Aggregator[line, order])
		steps []step
	}{
		{"size", nil, []step{
			{"1", of("a"), "held"},
			{"2", of("b"), "held"},
			{"3", of("a"), "held"},
			{"4", of("a"), "sent to packed by size releases 2"},
			{"5", of("a"), "held"},
			{"4", of("a"), "dropped already released"},
			{"2", of("b"), "dropped duplicate member"},
			{"5", of("a"), "dropped duplicate member"},
		}},
		{"size of the first", func(a *Aggregator[line, order]) {
			a.Size, a.SizeOf = 0, func(l line) int { return len(l.SKU) }
		}, []step{
			{"1", line{Order: "a", SKU: "xx"}, "held"},
			{"2", line{Order: "a", SKU: "xxxxx"}, "sent to packed by size releases 1"},
			{"3", line{Order: "b", SKU: "x"}, "sent to packed by size"},
		}},
		{"predicate", func(a *Aggregator[line, order]) {
			a.Complete = func(_ string, l line) bool { return l.Last }
		}, []step{
			{"1", of("a"), "held"},
			{"2", line{Order: "a", Last: true}, "sent to packed by predicate releases 1"},
			{"3", of("a"), "held"},
		}},
		{"limit of members", func(a *Aggregator[line, order]) { a.Size, a.Timeout, a.MaxMembers = 0, time.Hour, 2 }, []step{
			{"1", of("a"), "held"},
			{"2", of("a"), "sent to packed by limit releases 1"},
		}},
		{"limit of bytes", func(a *Aggregator[line, order]) { a.MaxBytes = 200 }, []step{
			{"1", of("a"), "held"},
			{"2", of("a"), "sent to packed by limit releases 1"},
		}},
		{"late dropped", func(a *Aggregator[line, order]) { a.Size, a.DropLate = 1, true }, []step{
			{"1", of("a"), "sent to packed by size"},
			{"2", of("a"), "dropped late"},
			{"1", of("a"), "dropped already released"},
			{"3", of("b"), "sent to packed by size"},
		}},
		{"late sent", func(a *Aggregator[line, order]) { a.Size, a.LateTo = 1, "late" }, []step{
			{"1", of("a"), "sent to packed by size"},
			{"2", of("a"), "sent to late"},
			{"2", of("a"), "sent to late"},
		}},
		{"too many groups", func(a *Aggregator[line, order]) { a.MaxOpen = 1 }, []step{
			{"1", of("a"), "held"},
			{"2", of("b"), "error"},
			{"3", of("a"), "held"},
			{"4", of("a"), "sent to packed by size releases 2"},
			{"2", of("b"), "held"},
		}},
		{"no key", nil, []step{{"1", of(""), "error"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := packer(&Memory{})
			if x.set != nil {
				x.set(a)
			}
			if err := a.Shape().Err; err != nil {
				t.Fatal(err)
			}
			for i, s := range x.steps {
				r, err := process(a, "flow/pack", s.id, s.line)
				if got := say(r, err); got != s.want {
					t.Fatalf("step %d: %s: %s, %v; want %s", i, s.id, got, err, s.want)
				}
				settle(t, r, nil)
			}
		})
	}
}

func TestNoKeyNamesTheStep(t *testing.T) {
	_, err := process(packer(&Memory{}), "orders/pack", "1", line{})
	if !errors.Is(err, ErrNoKey) || !channel.IsPermanent(err) || !strings.Contains(err.Error(), "orders/pack") {
		t.Fatalf("error %v; want a permanent ErrNoKey that names orders/pack", err)
	}
}

func TestShapeNamesEveryMistake(t *testing.T) {
	clean := packer(&Memory{})
	if err := clean.Shape().Err; err != nil {
		t.Fatalf("a good aggregator: %v", err)
	}
	a := &Aggregator[line, order]{}
	for _, want := range []string{"Correlate is nil", "Combine and Fold are nil", "To is empty", "Store is nil", "nothing completes a group"} {
		if err := a.Shape().Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("empty aggregator: %v; want %q", err, want)
		}
	}
	fold := func(o order, _ line) (order, error) { return o, nil }
	for want, set := range map[string]func(a *Aggregator[line, order]){
		"Combine and Fold are both set":   func(a *Aggregator[line, order]) { a.Fold = fold },
		"CompleteFold is set without":     func(a *Aggregator[line, order]) { a.CompleteFold = func(string, order) bool { return true } },
		"Size and SizeOf are both set":    func(a *Aggregator[line, order]) { a.SizeOf = func(line) int { return 1 } },
		"MaxMembers is 2":                 func(a *Aggregator[line, order]) { a.MaxMembers = 2 },
		"Idle is 1m0s":                    func(a *Aggregator[line, order]) { a.Timeout, a.Idle = time.Minute, time.Minute },
		"DropLate and LateTo":             func(a *Aggregator[line, order]) { a.DropLate, a.LateTo = true, "late" },
		"Size is negative":                func(a *Aggregator[line, order]) { a.Size = -1 },
		"Remember is negative: use 0 for": func(a *Aggregator[line, order]) { a.Remember = -1 },
	} {
		a := packer(&Memory{})
		set(a)
		if err := a.Shape().Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	a = packer(&Memory{})
	a.LateTo, a.CompleteOnDrain = "late", true
	s := a.Shape()
	if len(s.Outlets) != 2 || len(s.Inlets) != 1 || !s.Inlets[0].Clock.AtEnd || s.Effect != channel.External || s.Failed == nil {
		t.Errorf("shape %+v", s)
	}
}

// unpack gives id, key and body of the one message that r sends because of cause.
func unpack(t *testing.T, r channel.Result) (channel.ID, string, order) {
	t.Helper()
	if r.Len() != 1 {
		t.Fatalf("result is %s; want one message", say(r, nil))
	}
	var cause, e channel.Envelope
	cause.Arrive(&channel.Arrival{Scope: "f/s", ID: fmt.Sprint(time.Now())})
	e.Follow(&cause, r.At(0), 0, "")
	o, _ := r.At(0).Body().(order)
	return e.UID(), e.Key(), o
}

// Whoever releases a group, and because of what, sends the same message under the same id.
func TestOneIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := packer(&Memory{})
		a.Key = func(key string) string { return "order-" + key }
		for i := range 2 {
			if _, err := process(a, "f/s", strconv.Itoa(i), line{Order: "7", SKU: strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := process(a, "f/s", "2", line{Order: "7", SKU: "2"})
		if err != nil {
			t.Fatal(err)
		}
		id, key, body := unpack(t, r)
		if key != "order-7" || !slices.Equal(body.SKUs, []string{"0", "1", "2"}) {
			t.Fatalf("sent %+v under key %s", body, key)
		}
		settle(t, r, errors.New("broker is down")) // returned
		if r, err = process(a, "f/s", "0", line{Order: "7", SKU: "0"}); err != nil {
			t.Fatal(err)
		}
		again, _, sent := unpack(t, r)
		if again != id || !slices.Equal(sent.SKUs, body.SKUs) {
			t.Fatalf("by a redelivered member: %v %+v; want %v %+v", again, sent, id, body)
		}
		// That worker dies; nobody settles. The lease ends and the clock takes over.
		if _, err = process(a, "f/s", "2", line{Order: "7"}); !errors.Is(err, ErrBusy) {
			t.Fatalf("while it is being released: %v; want ErrBusy", err)
		}
		time.Sleep(defaultLease)
		clock := a.Shape().Inlets[0].Clock
		late := r
		if r, err = clock.Fire(t.Context(), "f/s", "7"); err != nil {
			t.Fatal(err)
		}
		if again, _, _ := unpack(t, r); again != id || r.At(0).Get(channel.HeaderCompleted) != CompletedBySize || r.Released() != 2 {
			t.Fatalf("by the clock: %v, %s; want %v by size, releasing 2", again, say(r, nil), id)
		}
		if err := late.Settler()(t.Context(), nil); !errors.Is(err, ErrLost) {
			t.Fatalf("late settle of the old owner: %v; want ErrLost", err)
		}
		settle(t, r, nil)
		if got := say(process(a, "f/s", "2", line{Order: "7"})); got != "dropped already released" {
			t.Fatalf("the completing member again: %s", got)
		}
		if got := say(clock.Fire(t.Context(), "f/s", "7")); got != "dropped already released" {
			t.Fatalf("the clock again: %s", got)
		}
	})
}

func TestCombineFails(t *testing.T) {
	for _, x := range []struct {
		name string
		fail func()
	}{
		{"error", func() {}},
		{"panic", func() { panic("at the disco") }},
	} {
		t.Run(x.name, func(t *testing.T) {
			bad := true
			broken := errors.New("broken")
			a := packer(&Memory{})
			a.Combine = func(key string, ls []line) (order, error) {
				if bad {
					x.fail()
					return order{}, broken
				}
				return pack(key, ls)
			}
			try := func() (r channel.Result, err error) {
				defer func() {
					if v := recover(); v != nil {
						err = broken
					}
				}()
				return process(a, "f/s", "2", line{Order: "a"})
			}
			_, _ = process(a, "f/s", "0", line{Order: "a"})
			_, _ = process(a, "f/s", "1", line{Order: "a"})
			for range 3 { // the claim is given back each time: no lease to wait for
				if _, err := try(); !errors.Is(err, broken) {
					t.Fatalf("error %v; want %v", err, broken)
				}
			}
			bad = false
			r, err := try()
			if got := say(r, err); got != "sent to packed by size releases 2" {
				t.Fatalf("after it was mended: %s, %v", got, err)
			}
			settle(t, r, nil)
		})
	}
}

// envelope is that of a message that failed at the step.
func envelope(a *channel.Arrival) *channel.Envelope {
	var e channel.Envelope
	a.Context = context.Background()
	e.Arrive(a)
	return &e
}

// What fails for good takes its group with it, whether a message or the clock released it.
func TestFailedBuriesTheGroup(t *testing.T) {
	broken := errors.New("broken")
	setup := func() *Aggregator[line, order] {
		a := packer(&Memory{})
		a.Combine = func(string, []line) (order, error) { return order{}, broken }
		for i := range 3 {
			_, _ = process(a, "f/s", strconv.Itoa(i), line{Order: "a"}, channel.Field{Name: "n", Value: strconv.Itoa(i)})
		}
		return a
	}
	message := channel.Arrival{Scope: "f/s", ID: "2", Body: line{Order: "a"}, HasBody: true}
	tick := channel.Arrival{Scope: "f/s", ID: "tick", Key: "a", Tick: true}
	for name, arrival := range map[string]channel.Arrival{"message": message, "clock": tick} {
		t.Run(name, func(t *testing.T) {
			a := setup()
			failed := a.Shape().Failed
			r, err := failed(envelope(&arrival), broken)
			if err != nil {
				t.Fatal(err)
			}
			why, entries := r.Buried()
			if !errors.Is(why, broken) || len(entries) != 3 || entries[1].ID() != "1" || entries[1].Get("n") != "1" || r.Released() != 2 {
				t.Fatalf("result %s, %v, %d entries", say(r, nil), why, len(entries))
			}
			// While that is under way somebody else's failure leaves the group to it.
			if got := say(failed(envelope(&message), broken)); got != "dropped released elsewhere" {
				t.Fatalf("another failure: %s", got)
			}
			settle(t, r, errors.New("dead letter is down"))
			if r, err = failed(envelope(&arrival), broken); err != nil {
				t.Fatal(err)
			}
			settle(t, r, nil)
			if _, entries := r.Buried(); len(entries) != 3 || entries[0].ID() != "0" {
				t.Fatal("the entries did not outlive the release")
			}
			if got := say(failed(envelope(&message), broken)); got != "dropped released elsewhere" {
				t.Fatalf("after all: %s", got)
			}
			if got := say(process(a, "f/s", "1", line{Order: "a"})); got != "dropped already released" {
				t.Fatalf("a member again: %s", got)
			}
		})
	}
	t.Run("no member", func(t *testing.T) {
		a := packer(&Memory{})
		_, _ = process(a, "f/s", "0", line{Order: "a"})
		for _, x := range []channel.Arrival{
			{Scope: "f/s", ID: "0", Body: line{Order: "a"}, HasBody: true},       // of an open group, which stays
			{Scope: "f/s", ID: "9", Body: line{Order: "b"}, HasBody: true},       // never added
			{Scope: "f/s", ID: "9", Body: line{}, HasBody: true},                 // without a key
			{Scope: "f/s", ID: "9", Topic: "lines", Payload: []byte("not JSON")}, // not to be read
		} {
			if r, err := a.Shape().Failed(envelope(&x), broken); err == nil && r.Outcome() != channel.Unsaid {
				t.Errorf("%s: %s; want the message alone", x.ID, say(r, err))
			}
		}
	})
}

// A store that is down is not the message's fault: it waits, however long.
func TestStoreDown(t *testing.T) {
	down := errors.New("connection refused")
	for _, broken := range []string{"add", "claim"} {
		m := &Memory{}
		s := &faulty{Store: m}
		a := packer(s)
		if broken == "claim" {
			a.Combine = func(string, []line) (order, error) { return order{}, down }
			for i := range 3 {
				_, _ = process(a, "f/s", strconv.Itoa(i), line{Order: "a"})
			}
		}
		s.err = down
		_, err := process(a, "f/s", "2", line{Order: "a"})
		if _, later := channel.IsLater(err); !later || !errors.Is(err, down) {
			t.Errorf("%s: %v; want the store's error, Later", broken, err)
		}
		if f := a.Shape().Failed; f != nil {
			if r, err := f(envelope(&channel.Arrival{Scope: "f/s", ID: "2", Body: line{Order: "a"}, HasBody: true}), down); err == nil {
				t.Errorf("%s: failed gives %s; want an error", broken, say(r, nil))
			}
		}
	}
}

// A faulty store is down when err is set.
type faulty struct {
	Store
	err error
}

func (f *faulty) Add(ctx context.Context, r AddRequest) (Added, error) {
	a, err := f.Store.Add(ctx, r)
	if f.err != nil && a.State != Closed { // the claim is what fails
		return Added{}, f.err
	}
	return a, err
}

func (f *faulty) Claim(ctx context.Context, r ClaimRequest) (Group, error) {
	if f.err != nil {
		return Group{}, f.err
	}
	return f.Store.Claim(ctx, r)
}
