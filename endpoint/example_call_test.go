package endpoint_test

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
)

// The answer goes on to the next topic.
func ExampleCall() {
	const Prices channel.Topic[int] = "prices"
	price := func(_ context.Context, article string) (cents int, err error) { return 100 * len(article), nil }

	r, err := endpoint.Call(price, Prices).Process(channel.NewMessage("1", "tea"))
	fmt.Println(r.At(0).Topic(), r.At(0).Body(), err)
	// Output:
	// prices 300 <nil>
}
