package endpoint_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
)

// The service knows nothing of messaging.
func ExampleDo() {
	type Payment struct{ Cents int }
	charge := func(_ context.Context, p Payment) error {
		if p.Cents > 1000_00 {
			return errors.New("card declined")
		}
		return nil
	}

	block := endpoint.Do(charge)

	r, err := block.Process(channel.NewMessage("payment-1", Payment{Cents: 250}))
	fmt.Println(r.Outcome(), err)
	_, err = block.Process(channel.NewMessage("payment-2", Payment{Cents: 5000_00}))
	fmt.Println(err)
	// Output:
	// done <nil>
	// card declined
}

// The message's id is the same at every attempt: the service can tell a repeated request by it.
func ExampleDoMessage() {
	charged := map[string]bool{} // the service's own
	block := endpoint.DoMessage(func(m channel.Message[int]) error {
		if charged[m.ID()] {
			return nil
		}
		charged[m.ID()] = true
		fmt.Println("charged", m.Body)
		return nil
	})

	m := channel.NewMessage("payment-1", 250)
	for range 2 {
		r, err := block.Process(m)
		fmt.Println(r.Outcome(), err)
	}
	// Output:
	// charged 250
	// done <nil>
	// done <nil>
}
