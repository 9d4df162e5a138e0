package domain

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// The ways in which a booking fails.
var (
	// ErrBusy: the inventory did not answer in time. Ask again.
	ErrBusy = errors.New("inventory is busy")
	// ErrRecord: the inventory's record of an item makes no sense. Asking again does not help: count the
	// shelf.
	ErrRecord = errors.New("stock record is broken")
)

// An Inventory books lines against what is in stock. Set the fields before the first use and do not copy
// it.
type Inventory struct {
	Stock map[string]int  // by item; below zero: the record is broken
	Shelf map[string]int  // what Recount finds of the items whose record is broken
	Slow  map[string]bool // items of which the first request for each line times out

	mu      sync.Mutex
	asked   map[place]bool
	answers map[place]Answer
}

// A place is a line's identity: order and number.
type place struct {
	order  string
	number int
}

// Book takes a line's quantity out of the stock, all of it or none. A line that was booked before gets the
// same answer and is not booked again, for a message may come twice.
func (i *Inventory) Book(_ context.Context, l Line) (Answer, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := place{l.Order, l.Number}
	if a, ok := i.answers[at]; ok {
		return a, nil
	}
	if i.Slow[l.Item] && !i.asked[at] {
		if i.asked == nil {
			i.asked = map[place]bool{}
		}
		i.asked[at] = true
		return Answer{}, fmt.Errorf("booking %s: %w", l, ErrBusy)
	}
	a := Answer{Line: l, Status: Short}
	switch stock := i.Stock[l.Item]; {
	case stock < 0:
		return Answer{}, fmt.Errorf("booking %s: %w: %d in stock", l, ErrRecord, stock)
	case stock >= l.Quantity:
		i.Stock[l.Item] -= l.Quantity
		a.Status = Booked
	}
	if i.answers == nil {
		i.answers = map[place]Answer{}
	}
	i.answers[at] = a
	return a, nil
}

// Recount repairs every broken record: somebody goes and counts what is on the shelf.
func (i *Inventory) Recount() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for item, stock := range i.Stock {
		if stock < 0 {
			i.Stock[item] = i.Shelf[item]
		}
	}
}

// Widgets is the widget inventory of the example.
func Widgets() *Inventory {
	return &Inventory{Stock: map[string]int{"W1": 1000, "W2": 1000, "W3": 10}}
}

// Gadgets is the gadget inventory of the example: slow with G2, and wrong about G13.
func Gadgets() *Inventory {
	return &Inventory{
		Stock: map[string]int{"G1": 1000, "G2": 1000, "G13": -2},
		Shelf: map[string]int{"G13": 40},
		Slow:  map[string]bool{"G2": true},
	}
}
