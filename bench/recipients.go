package main

import (
	"context"

	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
)

const (
	billing  channel.Topic[*order] = "billing"
	shipping channel.Topic[*order] = "shipping"
	stock    channel.Topic[*order] = "stock"
)

// toThree forwards a message to each of three topics: a Recipient List whose list is fixed.
type toThree struct{}

func (toThree) Process(m channel.Message[*order]) (channel.Result, error) {
	return channel.Send(channel.Forward(billing, m), channel.Forward(shipping, m), channel.Forward(stock, m)), nil
}

func (toThree) Shape() channel.Shape {
	return channel.Shape{Pattern: "Recipient List", Outlets: []channel.Outlet{
		channel.Out("billing", billing), channel.Out("shipping", shipping), channel.Out("stock", stock),
	}}
}

// recipientsRow has an order go to three topics, and counts deliveries.
func recipientsRow() measure.Row {
	plain := func(context.Context) (measure.Load, error) {
		t, o := &tally{}, &order{ID: "1"}
		recipients := []func(context.Context, *order) error{one[*order](t), one[*order](t), one[*order](t)}
		return byHand(t, func(ctx context.Context, n, _ int) error {
			for range n {
				for _, to := range recipients {
					if err := to(ctx, o); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	ours := func(ctx context.Context) (measure.Load, error) {
		t := &tally{}
		return inProcess(ctx, orders, t, same(&order{ID: "1"}),
			flow.Step("recipients", orders, toThree{}),
			flow.Step("billing", billing, endpoint.Do(one[*order](t))),
			flow.Step("shipping", shipping, endpoint.Do(one[*order](t))),
			flow.Step("stock", stock, endpoint.Do(one[*order](t))),
			flow.Direct(orders, billing, shipping, stock))
	}
	r := direct("recipient list of 3 (a block that forwards to three topics)", plain, ours)
	r.Unit, r.Units = "deliveries", 3
	return r
}
