package router_test

import (
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/router"
)

// An unmatched order is an error: add Otherwise where it should not be.
func ExampleContent() {
	type Order struct{ Region string }
	const (
		EU channel.Topic[Order] = "orders.eu"
		US channel.Topic[Order] = "orders.us"
	)
	from := func(region string) func(Order) bool {
		return func(o Order) bool { return o.Region == region }
	}

	byRegion := router.Content(
		router.When("eu", from("EU"), EU),
		router.When("us", from("US"), US),
	)

	for _, region := range []string{"US", "EU", "Mars"} {
		r, err := byRegion.Process(channel.NewMessage("order-1", Order{Region: region}))
		if errors.Is(err, channel.ErrNoRoute) {
			fmt.Println(region, "has no route")
			continue
		}
		fmt.Println(region, "goes to", r.At(0).Topic())
	}
	// Output:
	// US goes to orders.us
	// EU goes to orders.eu
	// Mars has no route
}

// With topics of bytes and nothing but headers to look at, no body is ever decoded.
func ExampleWhenHeader() {
	const (
		Urgent channel.Topic[[]byte] = "parcels.urgent"
		Normal channel.Topic[[]byte] = "parcels.normal"
	)
	byPriority := router.Content(
		router.WhenHeader("urgent", "priority", func(v string) bool { return v == "high" }, Urgent),
		router.Otherwise(Normal),
	)

	r, err := byPriority.Process(channel.NewMessage("parcel-1", []byte("as it came"), "priority", "high"))
	fmt.Println(r.At(0).Topic(), err)
	r, err = byPriority.Process(channel.NewMessage("parcel-2", []byte("as it came")))
	fmt.Println(r.At(0).Topic(), err)
	// Output:
	// parcels.urgent <nil>
	// parcels.normal <nil>
}

// All mistakes are reported at once, each with what to do.
func ExampleContentBasedRouter_Shape() {
	const Rest channel.Topic[int] = "rest"

	fmt.Println(router.Content(
		router.Otherwise(Rest),
		router.When("even", func(n int) bool { return n%2 == 0 }, ""),
	).Shape().Err)
	// Output:
	// router.Content: branch 1 ("otherwise") is Otherwise with branches after it, which nothing would reach: make it the last
	// router.Content: branch 2 ("even") has no topic: name the one it sends to
}
