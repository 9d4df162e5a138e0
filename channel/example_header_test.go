package channel_test

import (
	"fmt"
	"time"

	"github.com/leat-go/leat/channel"
)

// A header knows the type of its value. What cannot be read is an error that names the header and does
// not quote it.
func ExampleHeader() {
	const (
		Tenant channel.Header[string]        = "tenant"
		Weight channel.Header[int]           = "weight"
		Grace  channel.Header[time.Duration] = "grace"
	)
	const Parcels channel.Topic[string] = "parcels"

	d := Weight.Put(channel.To(Parcels, "books"), 12)
	fmt.Println(d.Get("weight"))

	m := channel.NewMessage("1", "books", "tenant", "acme", "weight", "heavy")
	tenant, ok, err := Tenant.Get(m)
	fmt.Println(tenant, ok, err)
	_, ok, err = Grace.Get(m)
	fmt.Println(ok, err)
	_, _, err = Weight.Get(m)
	fmt.Println(err)
	// Output:
	// 12
	// acme true <nil>
	// false <nil>
	// reading header weight as int: not a number, or one too large
}
