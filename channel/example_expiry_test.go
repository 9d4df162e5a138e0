package channel_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-go/leat/channel"
)

// A sender says how long a message is good for; a step that has an Expiry sends what is too late aside.
func ExampleExpiry() {
	offer := channel.Expires.Put(channel.To(channel.Topic[string]("offers"), "tea"), time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC))
	fmt.Println(offer.Get(channel.HeaderExpires))

	var e channel.Envelope // the engine's part
	e.Arrive(&channel.Arrival{
		Context: context.Background(), Topic: "offers", ID: "1", Payload: []byte(`"tea"`),
		Headers: channel.Fields{{Name: channel.HeaderExpires, Value: offer.Get(channel.HeaderExpires)}},
	})
	r, _, err := channel.Expiry{To: "offers.late"}.Enter(&e)
	fmt.Println(r.Outcome(), r.At(0).Topic(), err)
	// Output:
	// 2024-02-29T12:00:00Z
	// expired offers.late <nil>
}
