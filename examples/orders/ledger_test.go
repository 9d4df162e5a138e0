package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

func letter(order, id string) *message.Message {
	m := message.NewMessage(id, nil)
	m.Metadata[channel.HeaderKey], m.Metadata[flow.DeadStep], m.Metadata[flow.DeadError] = order, gadgetInventory, "broken"
	return m
}

// resting reports whether no order is in flight, without waiting.
func resting(t *testing.T, l *ledger) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := l.rest(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return err == nil
}

func TestLedgerWritesInTheOrderTheyCame(t *testing.T) {
	var out strings.Builder
	l := newLedger(&out)
	if !l.receive("a") || !l.receive("b") || l.receive("a") {
		t.Fatal("an id is taken once")
	}
	l.turnAway("line 4", errors.New("bad"))
	l.set("b", isConfirmed, "first")
	if out.Len() > 0 || resting(t, l) {
		t.Errorf("a is in flight, and %q is written", out.String())
	}
	l.set("a", isRefused, "second")
	l.set("a", isConfirmed, "again")
	l.set("c", isConfirmed, "never received")
	want := "a         refused       second\nb         confirmed     first\nline 4    invalid       bad\n"
	if out.String() != want || !resting(t, l) {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestAnOrderIsDeadAsLongAsOneOfItsLettersIs: else the run would wait for an order that cannot be done.
func TestAnOrderIsDeadAsLongAsOneOfItsLettersIs(t *testing.T) {
	l := newLedger(&strings.Builder{})
	l.receive("a")
	first, second := letter("a", "1"), letter("a", "2")
	l.bury(first)
	l.bury(second)
	for _, c := range []struct {
		then    func()
		letters int
		resting bool
	}{
		{func() {}, 2, true},
		{func() { l.reopen(first) }, 1, true},
		{func() { l.reopen(second) }, 0, false},
		{func() { l.bury(second) }, 1, true},
		{func() { l.reopen(second) }, 0, false},
		{func() { l.set("a", isConfirmed, "") }, 0, true},
		{func() { l.bury(second) }, 0, true}, // it came twice
	} {
		c.then()
		if got := len(l.letters()); got != c.letters || resting(t, l) != c.resting {
			t.Errorf("%d letters, want %d; at rest: %v, want %v", got, c.letters, !c.resting, c.resting)
		}
	}
}
