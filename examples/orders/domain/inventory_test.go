package domain

import (
	"errors"
	"sync"
	"testing"
)

func TestBook(t *testing.T) {
	for _, c := range []struct {
		name        string
		item        string
		quantity    int
		status      Status
		err         error
		left, after int // in stock, and after the second time
	}{
		{"some", "W1", 4, Booked, nil, 6, 6},
		{"the last", "W1", 10, Booked, nil, 0, 0},
		{"too many", "W1", 11, Short, nil, 10, 10},
		{"unknown", "W9", 1, Short, nil, 0, 0},
		{"slow", "S1", 4, Booked, ErrBusy, 10, 6},
		{"broken", "B1", 1, "", ErrRecord, -1, -1},
	} {
		i := &Inventory{Stock: map[string]int{"W1": 10, "S1": 10, "B1": -1}, Slow: map[string]bool{"S1": true}}
		l := Line{c.item, c.quantity, "7", 1, 1}
		a, err := i.Book(t.Context(), l)
		if !errors.Is(err, c.err) || err == nil && a != (Answer{l, c.status}) || i.Stock[c.item] != c.left {
			t.Errorf("%s: %+v, error %v, %d left", c.name, a, err, i.Stock[c.item])
		}
		a, err = i.Book(t.Context(), l)
		if c.status != "" && (err != nil || a != Answer{l, c.status}) || i.Stock[c.item] != c.after {
			t.Errorf("%s, again: %+v, error %v, %d left, want %d", c.name, a, err, i.Stock[c.item], c.after)
		}
	}
}

func TestRecountMendsBrokenRecordsAlone(t *testing.T) {
	i := &Inventory{Stock: map[string]int{"B1": -1, "W1": 3}, Shelf: map[string]int{"B1": 5, "W1": 99}}
	i.Recount()
	if i.Stock["B1"] != 5 || i.Stock["W1"] != 3 {
		t.Fatalf("stock %v", i.Stock)
	}
	if a, err := i.Book(t.Context(), Line{"B1", 5, "7", 1, 1}); err != nil || a.Status != Booked {
		t.Fatalf("%+v, error %v", a, err)
	}
}

func TestBookIsSafeForConcurrentUse(t *testing.T) {
	i := &Inventory{Stock: map[string]int{"W1": 50}}
	var all sync.WaitGroup
	for n := range 100 {
		all.Go(func() {
			if _, err := i.Book(t.Context(), Line{"W1", 1, "7", n % 60, 60}); err != nil { // 40 of them twice
				t.Error(err)
			}
			i.Recount()
		})
	}
	all.Wait()
	if i.Stock["W1"] != 0 {
		t.Fatalf("%d left", i.Stock["W1"])
	}
}

func TestTheSampleInventories(t *testing.T) {
	w, g := Widgets(), Gadgets()
	if a, err := w.Book(t.Context(), Line{"W3", 500, "7", 1, 1}); err != nil || a.Status != Short {
		t.Errorf("W3: %+v, error %v", a, err)
	}
	if _, err := g.Book(t.Context(), Line{"G2", 1, "7", 2, 2}); !errors.Is(err, ErrBusy) {
		t.Errorf("G2: error %v", err)
	}
	if _, err := g.Book(t.Context(), Line{"G13", 1, "7", 3, 3}); !errors.Is(err, ErrRecord) {
		t.Errorf("G13: error %v", err)
	}
}
