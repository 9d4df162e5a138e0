package aggregator_test

import (
	"fmt"
	"strings"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
)

type Line struct{ OrderID, SKU string }

type Order struct {
	ID   string
	SKUs []string
}

const Packed channel.Topic[Order] = "orders.packed"

func pack(id string, lines []Line) (Order, error) {
	o := Order{ID: id}
	for _, l := range lines {
		o.SKUs = append(o.SKUs, l.SKU)
	}
	return o, nil
}

func Example() {
	p := &aggregator.Aggregator[Line, Order]{
		Correlate: func(l Line) string { return l.OrderID },
		Combine:   pack, To: Packed, Size: 3, Store: &aggregator.Memory{},
	}
	for i, sku := range []string{"cup", "saucer", "spoon"} {
		m := channel.NewMessage(fmt.Sprint("message-", i), Line{OrderID: "7", SKU: sku})
		r, err := p.Process(m)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Outcome())
		for i := range r.Len() {
			d := r.At(i)
			fmt.Println(d.Topic(), d.Body(), "complete by", d.Get(channel.HeaderCompleted))
		}
	}
	// Output:
	// held
	// held
	// sent
	// orders.packed {7 [cup saucer spoon]} complete by size
}

// A group that is folded holds one value, however many members it has.
func ExampleAggregator_fold() {
	p := &aggregator.Aggregator[Line, string]{
		Correlate: func(l Line) string { return l.OrderID },
		Fold: func(list string, l Line) (string, error) {
			return strings.TrimPrefix(list+", "+l.SKU, ", "), nil
		},
		Complete: func(_ string, l Line) bool { return l.SKU == "spoon" },
		To:       "packing.lists", Store: &aggregator.Memory{},
	}
	for i, sku := range []string{"cup", "saucer", "spoon"} {
		r, err := p.Process(channel.NewMessage(fmt.Sprint("message-", i), Line{OrderID: "7", SKU: sku}))
		if err != nil {
			fmt.Println(err)
			return
		}
		for i := range r.Len() {
			fmt.Println(r.At(i).Body(), "complete by", r.At(i).Get(channel.HeaderCompleted))
		}
	}
	// Output:
	// cup, saucer, spoon complete by predicate
}

// What is wrong with a block is said all at once, with the fix.
func ExampleAggregator_Shape() {
	fmt.Println((&aggregator.Aggregator[Line, Order]{Combine: pack, Size: 3}).Shape().Err)
	// Output:
	// aggregator.Aggregator.Correlate is nil: give the function that says which group a message belongs to
	// aggregator.Aggregator.To is empty: name the topic that groups go to
	// aggregator.Aggregator.Store is nil: give one, &aggregator.Memory{} for instance
}
