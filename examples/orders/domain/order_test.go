package domain

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, line, wrong string }{
		{"order", ` {"id":"7","lines":[{"item":"W1","quantity":2}]} `, ""},
		{"without lines", `{"id":"7"}`, ""}, // for Check
		{"empty", " \t", "the line is empty"},
		{"cut off", `{"id":"7"`, "not an order in JSON"},
		{"other type", `{"id":7}`, "not an order in JSON"},
		{"misspelt", `{"id":"7","lines":[{"item":"W1","qantity":2}]}`, `unknown field "qantity"`},
		{"no id", `{"lines":[]}`, "it has no id"},
		{"id of two lines", `{"id":"a\nb"}`, "its id is longer than 64 bytes, or not all"},
		{"long id", `{"id":"` + strings.Repeat("x", 65) + `"}`, "its id is longer than 64 bytes, or not all"},
		{"two", `{"id":"7"}{"id":"8"}`, "more than one order"},
		{"more", `{"id":"7"},`, "more than one order"},
	} {
		o, err := Parse([]byte(c.line))
		switch {
		case c.wrong == "":
			if err != nil || o.ID != "7" {
				t.Errorf("%s: %+v, error %v", c.name, o, err)
			}
		case !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.wrong):
			t.Errorf("%s: error %v, want %q", c.name, err, c.wrong)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name, wrong string
		lines       []Line
	}{
		{"good", "", []Line{{Item: "w1", Quantity: 2, Order: "other", Number: 9, Of: 9}}},
		{"no lines", "it has no lines", nil},
		{"no item", "line 2 has no item", []Line{{Item: "W1", Quantity: 1}, {Quantity: 1}}},
		{"long item", "the item of line 1 is longer", []Line{{Item: strings.Repeat("W", 65), Quantity: 1}}},
		{"invisible", "not all of it can be printed", []Line{{Item: "W\t", Quantity: 1}}},
		{"none wanted", "line 1 wants 0 x W1", []Line{{Item: "W1"}}},
		{"less than none", "line 1 wants -1 x W1", []Line{{Item: "W1", Quantity: -1}}},
	} {
		given := Order{ID: "7", Lines: c.lines}
		o, err := Check(given)
		switch {
		case c.wrong == "":
			if err != nil || !reflect.DeepEqual(o, Order{"7", []Line{{Item: "W1", Quantity: 2}}}) {
				t.Errorf("%s: %+v, error %v", c.name, o, err)
			}
			if given.Lines[0].Item != "w1" {
				t.Errorf("%s: Check changed the order it was given", c.name)
			}
		case !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.wrong):
			t.Errorf("%s: error %v, want %q", c.name, err, c.wrong)
		}
	}
}

func TestSplit(t *testing.T) {
	got := Split(Order{"7", []Line{{Item: "W1", Quantity: 2}, {Item: "G1", Quantity: 1}}})
	want := []Line{{"W1", 2, "7", 1, 2}, {"G1", 1, "7", 2, 2}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestKinds(t *testing.T) {
	for item, want := range map[string][2]bool{"W1": {true, false}, "G1": {false, true}, "X1": {}, "": {}} {
		l := Line{Item: item}
		if got := [2]bool{IsWidget(l), IsGadget(l)}; got != want {
			t.Errorf("%q: widget, gadget: %v, want %v", item, got, want)
		}
	}
}
