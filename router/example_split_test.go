package router_test

import (
	"fmt"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/router"
)

// The parts say which sequence they are of, and their place in it.
func ExampleSplit() {
	type Order struct{ Lines []string }
	const Lines channel.Topic[string] = "lines"

	byLine := router.Split(func(o Order) []string { return o.Lines }, Lines)

	r, err := byLine.Process(channel.NewMessage("order-1", Order{Lines: []string{"tea", "milk"}}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range r.Len() {
		d := r.At(i)
		fmt.Println(d.Topic(), d.Body(), d.Get(channel.HeaderSequence),
			d.Get(channel.HeaderSequenceIndex), "of", d.Get(channel.HeaderSequenceSize))
	}
	// Output:
	// lines tea order-1 0 of 2
	// lines milk order-1 1 of 2
}

// A message that has no parts is an error, unless you say that it may happen.
func ExampleSplitter() {
	type Order struct{ Lines []string }
	const Lines channel.Topic[string] = "lines"

	byLine := router.Split(func(o Order) []string { return o.Lines }, Lines)
	_, err := byLine.Process(channel.NewMessage("order-1", Order{}))
	fmt.Println(err)

	byLine.AllowEmpty = true
	r, err := byLine.Process(channel.NewMessage("order-1", Order{}))
	fmt.Println(r.Outcome(), r.Reason(), err)
	// Output:
	// message has no parts to split into: set AllowEmpty to drop such messages
	// dropped nothing to split <nil>
}

// Taking a message apart may fail, or need its headers: use SplitMessage.
func ExampleSplitMessage() {
	const Words channel.Topic[string] = "words"

	words := router.SplitMessage(func(m channel.Message[string]) ([]string, error) {
		if m.Get("language") == "" {
			return nil, fmt.Errorf("%w: no language", channel.ErrInvalid)
		}
		return []string{m.Body}, nil
	}, Words)

	_, err := words.Process(channel.NewMessage("text-1", "hello"))
	fmt.Println(err)
	// Output:
	// message is invalid: no language
}
