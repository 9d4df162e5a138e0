package channel_test

import (
	"fmt"

	"github.com/leat-go/leat/channel"
)

type payment struct{ Amount int }

const (
	small channel.Topic[payment] = "payments.small"
	large channel.Topic[payment] = "payments.large"
)

// bySize is a block of our own.
type bySize struct{ Limit int }

func (b bySize) Process(m channel.Message[payment]) (channel.Result, error) {
	if m.Body.Amount < b.Limit {
		return channel.Send(channel.Forward(small, m)), nil
	}
	return channel.Send(channel.Forward(large, m).Set("approve", "by hand")), nil
}

func (b bySize) Shape() channel.Shape {
	return channel.Shape{Outlets: []channel.Outlet{channel.Out("small", small), channel.Out("large", large)}}
}

// A block is tested with messages made by hand and no broker: what it would send is a value.
func ExampleNewMessage() {
	r, err := bySize{Limit: 100}.Process(channel.NewMessage("payment-1", payment{Amount: 250}, "tenant", "acme"))
	fmt.Println(r.Outcome(), r.Len(), err)
	fmt.Println(r.At(0).Topic(), r.At(0).Get("approve"))
	// Output:
	// sent 1 <nil>
	// payments.large by hand
}
