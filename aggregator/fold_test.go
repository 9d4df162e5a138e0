package aggregator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/channel"
)

var errBad = errors.New("bad line")

func folder(s Store) *Aggregator[line, order] {
	a := packer(s)
	a.Combine = nil
	a.Fold = func(acc order, l line) (order, error) {
		if l.SKU == "bad" {
			return acc, errBad
		}
		acc.ID = l.Order
		acc.SKUs = append(slices.Clip(acc.SKUs), l.SKU)
		return acc, nil
	}
	return a
}

func TestFold(t *testing.T) {
	a := folder(&Memory{})
	a.Size = 0
	a.CompleteFold = func(_ string, o order) bool { return len(o.SKUs) == 3 }
	for i, want := range []string{"held", "held", "sent to packed by predicate releases 2"} {
		bad := line{Order: "a", SKU: "bad"}
		if _, err := process(a, "f/s", "bad", bad); !errors.Is(err, errBad) {
			t.Fatalf("a line that cannot be folded: %v; want its own error", err)
		} else if _, later := channel.IsLater(err); later {
			t.Fatal("a line that cannot be folded waits for ever")
		}
		l := line{Order: "a", SKU: strconv.Itoa(i)}
		r, err := process(a, "f/s", strconv.Itoa(i), l, channel.Field{Name: channel.HeaderHops, Value: strconv.Itoa(9 - i)})
		if got := say(r, err); got != want {
			t.Fatalf("line %d: %s, %v; want %s", i, got, err, want)
		}
		if i < 2 {
			if got := say(process(a, "f/s", strconv.Itoa(i), l)); got != "dropped duplicate member" {
				t.Fatalf("line %d again: %s", i, got)
			}
			continue
		}
		if o, _ := r.At(0).Body().(order); fmt.Sprint(o) != "{a [0 1 2]}" {
			t.Fatalf("folded %v", o)
		}
		var cause, e channel.Envelope
		cause.Arrive(&channel.Arrival{Scope: "f/s", ID: "x"})
		if e.Follow(&cause, r.At(0), 0, ""); e.Hops() != 10 {
			t.Fatalf("%d hops; want one more than the most of any member, 9", e.Hops())
		}
		settle(t, r, nil)
	}
}

func TestFoldPanics(t *testing.T) {
	a := folder(&Memory{})
	fold := a.Fold
	a.Fold = func(order, line) (order, error) { panic("at the disco") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is gone: the engine must hear of it")
			}
		}()
		_, _ = process(a, "f/s", "1", line{Order: "a"})
	}()
	a.Fold = fold
	if got := say(process(a, "f/s", "1", line{Order: "a"})); got != "held" { // the store is not locked
		t.Fatalf("after the panic: %s", got)
	}
}

func TestFoldedGroupInTheDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := folder(&Memory{})
		for i := range 3 {
			_, _ = process(a, "f/s", strconv.Itoa(i), line{Order: "a", SKU: strconv.Itoa(i)})
		}
		time.Sleep(defaultLease)
		r, err := a.Shape().Failed(envelope(&channel.Arrival{Scope: "f/s", ID: "2", Body: line{Order: "a", SKU: "2"}, HasBody: true}), errBad)
		if err != nil {
			t.Fatal(err)
		}
		_, entries := r.Buried()
		if len(entries) != 2 || entries[0].ID() != "0" || entries[1].ID() != "2" {
			t.Fatalf("%d entries; want the state and the last message", len(entries))
		}
		if p, err := entries[0].Payload(); string(p) != `{"ID":"a","SKUs":["0","1","2"]}` || err != nil {
			t.Fatalf("state %s, %v", p, err)
		}
	})
}
