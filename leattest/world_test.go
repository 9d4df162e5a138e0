package leattest_test

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

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

var (
	_ adapters.Grouper   = (*leattest.Instance)(nil)
	_ message.Publisher  = (*leattest.Instance)(nil)
	_ message.Subscriber = (*leattest.Instance)(nil)
)

// A reader keeps what a subscription has handed out.
type reader struct {
	ch <-chan *message.Message
}

func read(t *testing.T, sub message.Subscriber) *reader {
	t.Helper()
	ch, err := sub.Subscribe(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	return &reader{ch}
}

// take gives what is there now, by id.
func (r *reader) take() map[string]*message.Message {
	got := map[string]*message.Message{}
	for {
		synctest.Wait()
		select {
		case m, ok := <-r.ch:
			if !ok {
				return got
			}
			got[m.UUID] = m
		default:
			return got
		}
	}
}

func (r *reader) ended() bool {
	synctest.Wait()
	select {
	case _, ok := <-r.ch:
		return !ok
	default:
		return false
	}
}

func names(ms map[string]*message.Message) string {
	var ids []string
	for id := range ms {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q; want %q", what, got, want)
	}
}

func TestWorldGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &leattest.World{}
		i := w.Instance(0, false)
		w.Put("t", "1", "a")
		g, other := i.Group("g"), i.Group("other")
		a, b, c := read(t, g), read(t, g), read(t, other)
		all, again := read(t, i), read(t, i)
		w.Put("t", "2", "b")
		w.Put("u", "3", "c")
		members := names(a.take()) + " " + names(b.take())
		if members != "1 2" && members != "2 1" && members != " 1 2" && members != "1 2 " {
			t.Errorf("members of one group have %q; want 1 and 2 once", members)
		}
		expect(t, "another group", names(c.take()), "1 2")
		expect(t, "a subscription without a group", names(all.take()), "1 2")
		expect(t, "another one", names(again.take()), "1 2")
		expect(t, "left", strings.Join(w.Left(), ", "), "t 1, t 2, t 1, t 2, t 1, t 2, t 1, t 2")
		if err := i.Close(); err != nil {
			t.Error(err)
		}
		if !all.ended() || !again.ended() || a.ended() {
			t.Error("Close ends the subscriptions made at the instance, and no others")
		}
		expect(t, "left of groups with a name", strings.Join(w.Left(), ", "), "t 1, t 2, t 1, t 2")
		for _, s := range []message.Subscriber{g, other} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
}

func TestWorldKeepsOrderWithinAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &leattest.World{}
		i := w.Instance(0, false)
		defer i.Kill()
		for n, key := range []string{"k", "k", "l", "", "", "k"} {
			w.Put("t", strconv.Itoa(n), "", channel.HeaderKey, key)
		}
		r := read(t, i.Group("g"))
		got := r.take()
		expect(t, "at first", names(got), "0 2 3 4")
		got["0"].Nack()
		expect(t, "after a nack", names(r.take()), "0")
		got["2"].Ack()
		expect(t, "after an ack of another key", names(r.take()), "")
		synctest.Wait()
		expect(t, "left", strings.Join(w.Left(), " "), "t 0 t 1 t 3 t 4 t 5")
	})
}

func TestWorldGivesWhatADeadInstanceHadToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &leattest.World{}
		one, two := w.Instance(0, false), w.Instance(0, false)
		defer two.Kill()
		w.Put("t", "1", "")
		w.Put("t", "2", "")
		a := read(t, one.Group("g"))
		got := a.take()
		expect(t, "the first has", names(got), "1 2")
		got["2"].Ack()
		synctest.Wait()
		b := read(t, two.Group("g"))
		one.Kill()
		got["1"].Ack() // too late: nobody hears it
		if !a.ended() || !errors.Is(context.Cause(got["1"].Context()), leattest.ErrKilled) {
			t.Errorf("the dead instance reads on, or its messages' contexts do: %v", context.Cause(got["1"].Context()))
		}
		expect(t, "the second has", names(b.take()), "1")
		if r := read(t, one.Group("g")); !r.ended() {
			t.Error("a dead instance subscribes")
		}
	})
}

func TestInstanceDiesOfItsNthEffect(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; n <= 5; n++ {
			t.Run(fmt.Sprint(n, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &leattest.World{}
					i := w.Instance(n, after)
					defer i.Kill()
					marks, groups := &idempotency.Memory{}, &aggregator.Memory{}
					begun := func() error {
						_, err := i.IdempotencyStore(marks).Begin(t.Context(), idempotency.BeginRequest{Scope: "s", Key: "k", Lease: time.Second})
						return err
					}
					add := func() error {
						a, err := i.AggregatorStore(groups).Add(t.Context(), aggregator.AddRequest{Scope: "s", Key: "k", Entry: channel.NewEntry("1", "", nil, nil)})
						if err != nil && a.State != 0 {
							t.Error("a lost answer came with a result")
						}
						return err
					}
					done := 0
					do := func() error { return i.Do("own", func() error { done++; return nil }) }
					pub := func() error {
						return i.Publish("t", message.NewMessage("1", nil), message.NewMessage("2", nil))
					}
					killed := false
					for at, f := range []func() error{begun, add, do, pub} { // the fourth has two effects
						err := f()
						killed = killed || at+1 >= min(n, 4)
						if killed != errors.Is(err, leattest.ErrKilled) || !killed && err != nil {
							t.Errorf("effect %d gave %v", at+1, err)
						}
					}
					happened := n - 1
					if after {
						happened = n
					}
					if got := marks.Stats().Running + groups.Stats("s").Groups + done + len(w.Log("t")); got != happened || !i.Dead() {
						t.Errorf("%d effects happened, dead %v; want %d, dead", got, i.Dead(), happened)
					}
				})
			})
		}
	}
}

func TestDeadInstanceHasNoHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &leattest.World{}
		i := w.Instance(0, false)
		marks, groups := i.IdempotencyStore(&idempotency.Memory{}), i.AggregatorStore(&aggregator.Memory{})
		c, err := marks.Begin(t.Context(), idempotency.BeginRequest{Scope: "s", Key: "k", Lease: time.Second})
		if err != nil || marks.Renew(t.Context(), c, time.Second) != nil {
			t.Fatal(err)
		}
		i.Kill()
		i.Kill()
		ctx := t.Context()
		_, beginErr := marks.Begin(ctx, idempotency.BeginRequest{})
		_, addErr := groups.Add(ctx, aggregator.AddRequest{})
		_, claimErr := groups.Claim(ctx, aggregator.ClaimRequest{})
		_, dueErr := groups.Due(ctx, channel.DueRequest{})
		for at, err := range []error{
			beginErr, addErr, claimErr, dueErr,
			marks.Renew(ctx, c, time.Second), marks.Commit(ctx, idempotency.CommitRequest{Claim: c}), marks.Abort(ctx, c),
			groups.Release(ctx, aggregator.ReleaseRequest{}), groups.Return(ctx, aggregator.Group{}),
			i.Publish("t", message.NewMessage("1", nil)), i.Do("own", func() error { return nil }),
		} {
			if !errors.Is(err, leattest.ErrKilled) {
				t.Errorf("handle %d: error %v; want %v", at, err, leattest.ErrKilled)
			}
		}
	})
}

func TestInstanceFault(t *testing.T) {
	w := &leattest.World{}
	i := w.Instance(2, true)
	var asked []string
	i.Fault = func(what string) error {
		asked = append(asked, what)
		return errDown
	}
	if err := i.Publish("t", message.NewMessage("1", nil)); !errors.Is(err, errDown) || len(w.Log("t")) != 0 {
		t.Errorf("error %v, %d published; want %v and none", err, len(w.Log("t")), errDown)
	}
	expect(t, "asked", strings.Join(asked, ","), "publish t 1")
}
