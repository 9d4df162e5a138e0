package domain_test

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/examples/orders/domain"
)

// What the flow does with an order, as a loop.
func Example() {
	o, err := domain.Parse([]byte(`{"id":"7","lines":[{"item":"w1","quantity":2},{"item":"sundial","quantity":1}]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	if o, err = domain.Check(o); err != nil {
		fmt.Println(err)
		return
	}
	widgets := domain.Widgets()
	var answers []domain.Answer
	for _, l := range domain.Split(o) {
		a, err := domain.Refuse(l)
		if domain.IsWidget(l) {
			a, err = widgets.Book(context.Background(), l)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
		answers = append(answers, a)
	}
	out, err := domain.Combine(o.ID, answers)
	fmt.Println(out, err)
	// Output: booked 2 x W1; not sold 1 x SUNDIAL <nil>
}
