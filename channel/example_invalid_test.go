package channel_test

import (
	"context"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// A message that cannot be read goes to a place of its own, with its bytes as they came and the reason.
func ExampleInvalidChannel() {
	invalid := channel.InvalidChannel{To: "payments.invalid"}

	var e channel.Envelope // the engine's part
	e.Arrive(&channel.Arrival{Context: context.Background(), Topic: "payments", ID: "1", Payload: []byte(`{"Amount":"much"}`)})
	_, exit, _ := invalid.Enter(&e)
	var r channel.Result
	err := channel.Erase(bySize{})(&e, &r)

	r, err = exit(r, err)
	fmt.Println(r.Outcome(), r.At(0).Topic(), err)
	fmt.Println(r.At(0).Get(channel.HeaderReason))
	// Output:
	// invalid payments.invalid <nil>
	// decoding channel_test.payment from topic payments (17 bytes): payload cannot be decoded: JSON string at byte 16 does not fit int of field Amount
}
