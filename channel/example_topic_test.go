package channel_test

import (
	"fmt"

	"github.com/leat-go/leat/channel"
)

// A topic is a constant that senders and receivers share. To and Forward take what its type allows, and
// the compiler says so.
func ExampleTopic() {
	type Order struct{ Total int }
	const Orders channel.Topic[Order] = "orders"

	d := channel.To(Orders, Order{Total: 5})
	fmt.Println(d.Topic(), d.Type(), d.Body())
	fmt.Println(channel.MatchTopic("replies.*", "replies.eu"), channel.MatchTopic("replies.*", "orders"))
	// Output:
	// orders channel_test.Order {5}
	// true false
}
