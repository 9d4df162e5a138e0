package channel_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// Around a step: what comes too late goes to its named place, as it came.
func ExampleExpiry_flow() {
	show := func(_ context.Context, offer string) error {
		fmt.Println("shown:", offer)
		return nil
	}
	f, err := flow.New("shop",
		flow.Step("show", "offers", endpoint.Do(show), flow.Around(channel.Expiry{To: "offers.late"})),
		flow.Policy{DeadLetter: "offers.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	t := new(testing.T) // a test has one
	leattest.Run(t, f, func(k *leattest.Kit) {
		until := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
		leattest.Send(k, "offers", "1", "tea", channel.HeaderExpires, until(time.Hour))
		leattest.Send(k, "offers", "2", "milk", channel.HeaderExpires, until(-time.Second))
		fmt.Printf("late: %s\n", k.Log("offers.late")[0].Payload)
	})
	// Output:
	// shown: tea
	// late: "milk"
}

// Around a step: what makes no sense goes to its named place, as it came, with the reason.
func ExampleInvalidChannel_flow() {
	charge := func(_ context.Context, cents int) error {
		if cents <= 0 {
			return fmt.Errorf("%w: nothing to pay", channel.ErrInvalid)
		}
		fmt.Println("charged", cents)
		return nil
	}
	f, err := flow.New("shop",
		flow.Step("charge", "payments", endpoint.Do(charge), flow.Around(channel.InvalidChannel{To: "payments.invalid"})),
		flow.Policy{DeadLetter: "payments.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	t := new(testing.T) // a test has one
	leattest.Run(t, f, func(k *leattest.Kit) {
		leattest.Send(k, "payments", "1", 250)
		leattest.Send(k, "payments", "2", 0)
		m := k.Log("payments.invalid")[0]
		fmt.Printf("%s %s\n", m.Payload, m.Metadata[channel.HeaderReason])
	})
	// Output:
	// charged 250
	// 0 message is invalid: nothing to pay
}
