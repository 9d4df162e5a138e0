package router_test

import (
	"fmt"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/router"
)

// What is not kept is dropped, counted under its reason.
func ExampleFilter() {
	const Large channel.Topic[int] = "payments.large"

	large := router.Filter(func(cents int) bool { return cents >= 100_00 }, Large)

	for _, cents := range []int{250_00, 3_50} {
		r, _ := large.Process(channel.NewMessage("payment-1", cents))
		fmt.Printf("%d %v %q\n", cents, r.Outcome(), r.Reason())
	}
	// Output:
	// 25000 sent ""
	// 350 dropped "filtered"
}

// With Discard set nothing is dropped.
func ExampleMessageFilter() {
	const (
		Large channel.Topic[int] = "payments.large"
		Small channel.Topic[int] = "payments.small"
	)
	large := router.Filter(func(cents int) bool { return cents >= 100_00 }, Large)
	large.Discard = Small

	r, _ := large.Process(channel.NewMessage("payment-1", 3_50))
	fmt.Println(r.Outcome(), r.At(0).Topic())
	// Output:
	// sent payments.small
}
