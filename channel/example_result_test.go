package channel_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// Settles run after everything is published, the innermost first. Each hears what went wrong before it.
func ExampleResult_Settle() {
	settle := func(who string, fails error) func(context.Context, error) error {
		return func(_ context.Context, err error) error {
			fmt.Println(who, "hears:", err)
			return fails
		}
	}
	r := channel.Done().
		Settle(settle("block", errors.New("store is down"))).
		Settle(settle("interceptor", nil))

	fmt.Println(r.Settler()(context.Background(), nil)) // the engine does this
	// Output:
	// block hears: <nil>
	// interceptor hears: store is down
	// store is down
}
