package endpoint_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/leat-go/leat/channel"
)

// An effect is one delivery as it would leave for a broker.
type effect struct {
	topic, id, key, payload string
	tombstone               bool
	headers                 channel.Fields
}

// process has p process a, as the engine would, and gives all that comes of it.
func process[T any](t *testing.T, p channel.Processor[T], a channel.Arrival) (channel.Result, []effect, error) {
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
	var effects []effect
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
		effects = append(effects, effect{d.Topic(), out.ID(), out.Key(), string(payload), out.Deleted(), out.Fields()})
	}
	return r, effects, nil
}

// twice processes a twice, which must come to the same, ids included, and gives what it came to.
func twice[T any](t *testing.T, p channel.Processor[T], a channel.Arrival) []effect {
	t.Helper()
	r, first, err := process(t, p, a)
	r2, again, err2 := process(t, p, a)
	one := fmt.Sprintf("%v %q %v\n%+v", r.Outcome(), r.Reason(), err, first)
	two := fmt.Sprintf("%v %q %v\n%+v", r2.Outcome(), r2.Reason(), err2, again)
	if one != two {
		t.Fatalf("the same message came to\n%s\nand then to\n%s", one, two)
	}
	return first
}

// checkShape wants each of the mistakes in the shape's error, one a line, and no others.
func checkShape(t *testing.T, s channel.Shape, mistakes ...string) {
	t.Helper()
	var got []string
	if s.Err != nil {
		got = strings.Split(s.Err.Error(), "\n")
	}
	if !slices.Equal(got, mistakes) {
		t.Fatalf("Shape.Err says\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(mistakes, "\n  "))
	}
}

// outlets gives "name>topic" of each outlet.
func outlets(s channel.Shape) (names []string) {
	for _, o := range s.Outlets {
		names = append(names, o.Name+">"+o.Topic)
	}
	return names
}
