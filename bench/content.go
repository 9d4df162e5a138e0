package main

import (
	"context"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

const orders channel.Topic[*order] = "orders"

// same feeds one order again and again.
func same(o *order) func(int) (string, *order) {
	return func(int) (string, *order) { return "id", o }
}

// direct is a row over direct hops: ours beside the same work by hand.
func direct(name string, plain, ours opener) measure.Row {
	return measure.Row{
		Name:    "in the process, " + name,
		Ceiling: &measure.Contestant{Name: "by hand", Open: plain},
		Ours: []measure.Ours{{
			Contestant: measure.Contestant{Name: "flow.Direct", Open: ours},
			Must:       measure.Must{Why: camels},
		}},
	}
}

// contentRow routes an order to the third of three branches.
func contentRow() measure.Row {
	const eu, us, as channel.Topic[*order] = "eu", "us", "as"
	plain := func(context.Context) (measure.Load, error) {
		t, o := &tally{}, &order{Region: "AS"}
		sink := one[*order](t)
		routes := []struct {
			match func(*order) bool
			to    func(context.Context, *order) error
		}{{from("EU"), sink}, {from("US"), sink}, {from("AS"), sink}}
		return byHand(t, func(ctx context.Context, n, _ int) error {
			for range n {
				for _, r := range routes {
					if r.match(o) {
						if err := r.to(ctx, o); err != nil {
							return err
						}
						break
					}
				}
			}
			return nil
		})
	}
	ours := func(ctx context.Context) (measure.Load, error) {
		t := &tally{}
		return inProcess(ctx, orders, t, same(&order{Region: "AS"}),
			flow.Step("route", orders, router.Content(router.When("eu", from("EU"), eu), router.When("us", from("US"), us), router.When("as", from("AS"), as))),
			flow.Step("eu", eu, endpoint.Do(one[*order](t))),
			flow.Step("us", us, endpoint.Do(one[*order](t))),
			flow.Step("as", as, endpoint.Do(one[*order](t))),
			flow.Direct(orders, eu, us, as))
	}
	return direct("content router of three branches", plain, ours)
}
