package channel_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/leat-go/leat/channel"
)

// An error is tried again, unless it is permanent: then the message goes to the dead letter at once.
func ExamplePermanent() {
	closed := channel.Permanent(errors.New("account is closed"))

	err := fmt.Errorf("charging payment-1: %w", closed)
	fmt.Println(err)
	fmt.Println(channel.IsPermanent(err), errors.Is(err, closed))
	// Output:
	// charging payment-1: account is closed
	// true true
}

// An error that is not the message's own is tried again later, for as long as it takes, and is never
// the message's death.
func ExampleLater() {
	err := fmt.Errorf("storing order-1: %w", channel.Later(errors.New("store is down"), 5*time.Second))

	after, later := channel.IsLater(err)
	fmt.Println(err)
	fmt.Println(later, after)
	// Output:
	// storing order-1: store is down
	// true 5s
}
