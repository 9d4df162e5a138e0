package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// A purchase is an order as shops send them: about 1 KiB of JSON.
type purchase struct {
	ID       string         `json:"id"`
	Placed   string         `json:"placed"`
	Customer customer       `json:"customer"`
	Region   string         `json:"region"`
	Currency string         `json:"currency"`
	Lines    []purchaseLine `json:"lines"`
}

type customer struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Email  string `json:"email"`
	Street string `json:"street"`
	City   string `json:"city"`
}

type purchaseLine struct {
	SKU         string `json:"sku"`
	Description string `json:"description"`
	Quantity    int    `json:"quantity"`
	Cents       int    `json:"cents"`
}

// A bill is what a purchase is translated into.
type bill struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Currency string `json:"currency"`
	Items    int    `json:"items"`
	Cents    int    `json:"cents"`
}

func toBill(p purchase) (bill, error) {
	b := bill{Order: p.ID, Customer: p.Customer.ID, Currency: p.Currency}
	for _, l := range p.Lines {
		b.Items += l.Quantity
		b.Cents += l.Quantity * l.Cents
	}
	return b, nil
}

func inRegion(region string) func(purchase) bool {
	return func(p purchase) bool { return p.Region == region }
}

const customers = 256

// purchases makes one for each customer, the regions in turn.
func purchases() (bodies [][]byte, keys []string, err error) {
	regions := []string{"EU", "US", "AS"}
	for i := range customers {
		n := strconv.Itoa(1000 + i)
		p := purchase{
			ID: "order-" + n, Placed: "2026-03-14T15:09:26.535Z", Region: regions[i%len(regions)], Currency: "EUR",
			Customer: customer{"customer-" + n, "Jane Q. Public", "jane." + n + "@example.com", n + " Mill Lane", "Tavistock"},
		}
		for l := range 8 {
			p.Lines = append(p.Lines, purchaseLine{fmt.Sprintf("sku-%s-%d", n, l), "Paddle, oak, for an overshot wheel", 1 + l%3, 1999 + 100*l})
		}
		body, err := json.Marshal(p)
		if err != nil {
			return nil, nil, fmt.Errorf("making a purchase: %w", err)
		}
		bodies, keys = append(bodies, body), append(keys, p.Customer.ID)
	}
	return bodies, keys, nil
}

// billingFlow is three hops over a broker: routed by region, translated, filtered.
func billingFlow(parts ...flow.Part) (*flow.Flow, error) {
	const (
		in    channel.Topic[purchase] = "in"
		eu    channel.Topic[purchase] = "purchases.eu"
		us    channel.Topic[purchase] = "purchases.us"
		rest  channel.Topic[purchase] = "purchases.rest"
		bills channel.Topic[bill]     = "bills"
		out   channel.Topic[bill]     = "out"
	)
	return flow.New("billing", append(parts,
		flow.Step("by-region", in, router.Content(
			router.When("eu", inRegion("EU"), eu), router.When("us", inRegion("US"), us), router.Otherwise(rest))),
		flow.Step("bill-eu", eu, translator.Map(toBill, bills)),
		flow.Step("bill-us", us, translator.Map(toBill, bills)),
		flow.Step("bill-rest", rest, translator.Map(toBill, bills)),
		flow.Step("billable", bills, router.Filter(func(b bill) bool { return b.Cents > 0 }, out)),
		flow.Policy{DeadLetter: "dead"})...)
}
