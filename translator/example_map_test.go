package translator_test

import (
	"fmt"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/translator"
)

func ExampleMap() {
	type Order struct {
		ID    string
		Cents int
	}
	type Invoice struct{ Text string }
	const Invoices channel.Topic[Invoice] = "invoices"

	invoice := translator.Map(func(o Order) (Invoice, error) {
		if o.Cents <= 0 {
			return Invoice{}, fmt.Errorf("%w: order %s costs nothing", channel.ErrInvalid, o.ID)
		}
		return Invoice{Text: fmt.Sprintf("%s: %d cents", o.ID, o.Cents)}, nil
	}, Invoices)

	r, err := invoice.Process(channel.NewMessage("1", Order{ID: "tea", Cents: 250}))
	fmt.Println(r.At(0).Topic(), r.At(0).Body(), err)
	_, err = invoice.Process(channel.NewMessage("2", Order{ID: "air"}))
	fmt.Println(err)
	// Output:
	// invoices {tea: 250 cents} <nil>
	// message is invalid: order air costs nothing
}

// A translation may need more than the body: here a header.
func ExampleMapMessage() {
	const Greetings channel.Topic[string] = "greetings"

	greet := translator.MapMessage(func(m channel.Message[string]) (string, error) {
		if m.Get("language") == "de" {
			return "Hallo " + m.Body, nil
		}
		return "Hello " + m.Body, nil
	}, Greetings)

	r, _ := greet.Process(channel.NewMessage("1", "Welt", "language", "de"))
	fmt.Println(r.At(0).Body())
	// Output:
	// Hallo Welt
}
