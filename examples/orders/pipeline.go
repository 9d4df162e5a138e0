package main

import (
	"context"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/examples/orders/domain"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// The channels, each of one type. An order's id is the key of every message about it.
const (
	newOrders channel.Topic[domain.Order]   = "orders.new"
	checked   channel.Topic[domain.Order]   = "orders.checked"
	lines     channel.Topic[domain.Line]    = "orders.lines"
	answers   channel.Topic[domain.Answer]  = "orders.answers"
	outcomes  channel.Topic[domain.Outcome] = "orders.outcomes"

	widgets channel.Topic[domain.Line] = "orders.lines.widgets"
	gadgets channel.Topic[domain.Line] = "orders.lines.gadgets"
	notSold channel.Topic[domain.Line] = "orders.lines.not-sold"

	confirmed   channel.Topic[domain.Outcome] = "orders.confirmed"
	backOrdered channel.Topic[domain.Outcome] = "orders.back-ordered"
	refused     channel.Topic[domain.Outcome] = "orders.refused"

	invalid channel.Topic[[]byte] = "orders.invalid"
	dead    channel.Topic[[]byte] = "orders.dead"
)

// The steps whose dead letters a count of the shelves can mend.
const (
	widgetInventory = "widget-inventory"
	gadgetInventory = "gadget-inventory"
)

// declare makes the flow, and starts nothing. It books with the inventories, keeps answers in groups until an
// order has all of its own, and writes what became of an order into the ledger.
func declare(w, g *domain.Inventory, groups aggregator.Store, l *ledger, more ...flow.Part) (*flow.Flow, error) {
	end := func(s state) channel.Processor[domain.Outcome] {
		return endpoint.Do(func(_ context.Context, o domain.Outcome) error {
			l.set(o.Order, s, o.String())
			return nil
		})
	}
	return flow.New("orders", append([]flow.Part{
		flow.Step("check", newOrders, translator.Map(domain.Check, checked), flow.Around(
			channel.InvalidChannel{To: invalid, When: flow.When(domain.ErrInvalid, channel.ErrDecode)})),
		flow.Step("split", checked, router.Split(domain.Split, lines)),
		flow.Step("by-item", lines, router.Content(
			router.When("widget", domain.IsWidget, widgets),
			router.When("gadget", domain.IsGadget, gadgets),
			router.Otherwise(notSold))),
		flow.Step(widgetInventory, widgets, endpoint.Call(w.Book, answers)),
		flow.Step(gadgetInventory, gadgets, endpoint.Call(g.Book, answers)),
		flow.Step("invalid-item", notSold, translator.Map(domain.Refuse, answers)),
		flow.Step("assemble", answers, &aggregator.Aggregator[domain.Answer, domain.Outcome]{
			Correlate: func(a domain.Answer) string { return a.Order },
			SizeOf:    func(a domain.Answer) int { return a.Of },
			Combine:   domain.Combine, To: outcomes, Store: groups,
		}),
		flow.Step("by-outcome", outcomes, router.Content(
			router.When("back-ordered", domain.BackOrdered, backOrdered),
			router.When("confirmed", domain.Confirmed, confirmed),
			router.Otherwise(refused))),
		flow.Step("confirm", confirmed, end(isConfirmed)),
		flow.Step("back-order", backOrdered, end(isBackOrdered)),
		flow.Step("refuse", refused, end(isRefused)),
		flow.Step("return", invalid, endpoint.DoMessage(func(m channel.Message[[]byte]) error {
			l.set(m.Key(), isInvalid, m.Get(channel.HeaderReason))
			return nil
		})),
		// One hop stays in the process: to route a line and to book it is one piece of work, with one retry
		// and one acknowledgement. And the lines of an order, which have one key, are booked one after the
		// other whichever inventory each goes to; over the broker there would be a topic for each, and no
		// order between them. Every other hop crosses the broker: what is behind it may run elsewhere.
		flow.Direct(widgets, gadgets, notSold),
		flow.Policy{
			Attempts: 3, Backoff: flow.Exponential(20*time.Millisecond, time.Second), DeadLetter: dead,
			Rules: []flow.Rule{{When: flow.When(domain.ErrRecord), Attempts: 1}}, // asking again cannot help
		},
	}, more...)...)
}
