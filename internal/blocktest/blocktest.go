// Package blocktest is test support for blocks: it gives what a block's result would be as it leaves.
package blocktest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/channel"
)

// An Effect is one delivery as it would leave for a broker.
type Effect struct {
	Topic, ID, Key, Payload string
	Tombstone               bool
	Headers                 channel.Fields
}

// Process has p process a, as the engine would, and gives all that comes of it.
func Process[T any](t *testing.T, p channel.Processor[T], a channel.Arrival) (channel.Result, []Effect, error) {
	t.Helper()
	if a.Context == nil {
		a.Context = context.Background()
	}
	e := new(channel.Envelope)
	e.Arrive(&a)
	e.SetAttempt(1)
	var r channel.Result
	if err := channel.Erase(p)(e, &r); err != nil {
		return r, nil, err
	}
	var effects []Effect
	ordinals := map[string]int{}
	for i := range r.Len() {
		d := r.At(i)
		if err := d.Err(); err != nil {
			t.Fatalf("delivery %d: %v", i, err)
		}
		out := new(channel.Envelope)
		out.Follow(e, d, ordinals[d.Topic()], "")
		ordinals[d.Topic()]++
		payload, err := out.Payload()
		if err != nil {
			t.Fatalf("delivery %d: %v", i, err)
		}
		effects = append(effects, Effect{d.Topic(), out.ID(), out.Key(), string(payload), out.Deleted(), out.Fields()})
	}
	return r, effects, nil
}

// Twice processes a twice, which must come to the same, ids included, and gives what it came to.
func Twice[T any](t *testing.T, p channel.Processor[T], a channel.Arrival) []Effect {
	t.Helper()
	r, first, err := Process(t, p, a)
	r2, again, err2 := Process(t, p, a)
	one := fmt.Sprintf("%v %q %v\n%+v", r.Outcome(), r.Reason(), err, first)
	two := fmt.Sprintf("%v %q %v\n%+v", r2.Outcome(), r2.Reason(), err2, again)
	if one != two {
		t.Fatalf("the same message came to\n%s\nand then to\n%s", one, two)
	}
	return first
}

// CheckShape wants each of the mistakes in the shape's error, one a line, and no others.
func CheckShape(t *testing.T, s channel.Shape, mistakes ...string) {
	t.Helper()
	var got []string
	if s.Err != nil {
		got = strings.Split(s.Err.Error(), "\n")
	}
	if !slices.Equal(got, mistakes) {
		t.Fatalf("Shape.Err says\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(mistakes, "\n  "))
	}
}

// Outlets gives "name>topic" of each outlet.
func Outlets(s channel.Shape) (names []string) {
	for _, o := range s.Outlets {
		names = append(names, o.Name+">"+o.Topic)
	}
	return names
}
