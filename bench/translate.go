package main

import (
	"context"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// translateRow has a filter, a translator and a content router follow each other.
func translateRow() measure.Row {
	const (
		kept channel.Topic[*order]  = "kept"
		made channel.Topic[invoice] = "invoices"
		high channel.Topic[invoice] = "high"
		low  channel.Topic[invoice] = "low"
	)
	keep := func(o *order) bool { return o.Total >= 0 }
	translate := func(o *order) (invoice, error) { return invoice{o.ID, o.Total}, nil }
	isHigh := func(i invoice) bool { return i.Cents > 10 }
	plain := func(context.Context) (measure.Load, error) {
		t, o := &tally{}, &order{ID: "1", Total: 7}
		toHigh, toLow := one[invoice](t), one[invoice](t)
		return byHand(t, func(ctx context.Context, n, _ int) error {
			for range n {
				if !keep(o) {
					continue
				}
				i, err := translate(o)
				if err != nil {
					return err
				}
				to := toLow
				if isHigh(i) {
					to = toHigh
				}
				if err := to(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	ours := func(ctx context.Context) (measure.Load, error) {
		t := &tally{}
		return inProcess(ctx, orders, t, same(&order{ID: "1", Total: 7}),
			flow.Step("filter", orders, router.Filter(keep, kept)),
			flow.Step("translate", kept, translator.Map(translate, made)),
			flow.Step("route", made, router.Content(router.When("high", isHigh, high), router.Otherwise(low))),
			flow.Step("high", high, endpoint.Do(one[invoice](t))),
			flow.Step("low", low, endpoint.Do(one[invoice](t))),
			flow.Direct(orders, kept, made, high, low))
	}
	return direct("filter, translate, route", plain, ours)
}
