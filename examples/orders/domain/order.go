package domain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// ErrInvalid is wrapped by every error that means: this should not have been sent.
var ErrInvalid = errors.New("order is invalid")

// An Order is what a customer wants.
type Order struct {
	ID    string `json:"id"`
	Lines []Line `json:"lines"`
}

// A Line is one item of an order, and how many. Order, Number and Of are filled in by Split, so that a line
// can go its own way.
type Line struct {
	Item     string `json:"item"` // W... is a widget, G... a gadget
	Quantity int    `json:"quantity"`
	Order    string `json:"order,omitempty"`
	Number   int    `json:"number,omitempty"` // from 1
	Of       int    `json:"of,omitempty"`     // lines that the order has
}

// String gives the line as people write it: "3 x W1".
func (l Line) String() string { return fmt.Sprintf("%d x %s", l.Quantity, l.Item) }

// maxName is how long an id, or the name of an item, may be, in bytes.
const maxName = 64

// isName reports a text that can be printed in a table: not empty, not long, nothing invisible.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}

// Parse reads an order from a line of JSON. It wants an id and nothing more: the rest is for Check.
func Parse(line []byte) (Order, error) {
	var o Order
	if len(bytes.TrimSpace(line)) == 0 {
		return o, fmt.Errorf("%w: the line is empty", ErrInvalid)
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields() // "qantity" must not become 0
	if err := d.Decode(&o); err != nil {
		return Order{}, fmt.Errorf("%w: not an order in JSON: %w", ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Order{}, fmt.Errorf("%w: more than one order on a line", ErrInvalid)
	}
	if o.ID == "" {
		return Order{}, fmt.Errorf("%w: it has no id", ErrInvalid)
	}
	if !isName(o.ID) {
		return Order{}, fmt.Errorf("%w: its id is longer than %d bytes, or not all of it can be printed", ErrInvalid, maxName)
	}
	return o, nil
}

// Check gives the order with its items in capitals, or says what is wrong with it.
func Check(o Order) (Order, error) {
	if len(o.Lines) == 0 {
		return Order{}, fmt.Errorf("%w: it has no lines", ErrInvalid)
	}
	lines := make([]Line, len(o.Lines))
	for i, l := range o.Lines {
		switch {
		case l.Item == "":
			return Order{}, fmt.Errorf("%w: line %d has no item", ErrInvalid, i+1)
		case !isName(l.Item):
			return Order{}, fmt.Errorf("%w: the item of line %d is longer than %d bytes, or not all of it can be printed", ErrInvalid, i+1, maxName)
		case l.Quantity < 1:
			return Order{}, fmt.Errorf("%w: line %d wants %s", ErrInvalid, i+1, l)
		}
		lines[i] = Line{Item: strings.ToUpper(l.Item), Quantity: l.Quantity}
	}
	o.Lines = lines
	return o, nil
}

// Split takes an order apart.
func Split(o Order) []Line {
	lines := make([]Line, len(o.Lines))
	for i, l := range o.Lines {
		l.Order, l.Number, l.Of = o.ID, i+1, len(o.Lines)
		lines[i] = l
	}
	return lines
}

// IsWidget reports a line for the widget inventory.
func IsWidget(l Line) bool { return strings.HasPrefix(l.Item, "W") }

// IsGadget reports a line for the gadget inventory.
func IsGadget(l Line) bool { return strings.HasPrefix(l.Item, "G") }
