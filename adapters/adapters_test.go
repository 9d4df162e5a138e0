package adapters_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
)

type publisher struct{ message.Publisher }

func (publisher) Send([]*adapters.Outgoing, func([]*adapters.Outgoing)) {}

type subscriber struct{ message.Subscriber }

func (s subscriber) Group(string) message.Subscriber { return s }

type decoratedPublisher struct {
	message.Publisher
	of message.Publisher
}

func (d decoratedPublisher) Unwrap() message.Publisher { return d.of }

type decoratedSubscriber struct {
	message.Subscriber
	of message.Subscriber
}

func (d decoratedSubscriber) Unwrap() message.Subscriber { return d.of }

// A capability is found on the thing itself and through any number of decorators, the outermost first.
func TestAs(t *testing.T) {
	p, s := publisher{}, subscriber{}
	for _, c := range []struct {
		name string
		v    any
		want any
	}{
		{"itself", p, p},
		{"decorated", decoratedPublisher{of: p}, p},
		{"decorated twice", decoratedPublisher{of: decoratedPublisher{of: p}}, p},
		{"nothing below", decoratedPublisher{}, nil},
		{"another", s, nil},
		{"nothing", nil, nil},
	} {
		if got, ok := adapters.As[adapters.BatchPublisher](c.v); ok != (c.want != nil) || ok && got != c.want {
			t.Errorf("%s: a BatchPublisher is found: %t, %v", c.name, ok, got)
		}
	}
	if got, ok := adapters.As[adapters.Grouper](decoratedSubscriber{of: decoratedSubscriber{of: s}}); !ok || got != adapters.Grouper(s) {
		t.Errorf("a Grouper is found: %t, %v", ok, got)
	}
	if _, ok := adapters.As[adapters.Claims](decoratedSubscriber{of: s}); ok {
		t.Error("Claims are found where there are none")
	}
	if got, ok := adapters.As[message.Subscriber](decoratedSubscriber{of: s}); !ok || got != message.Subscriber(decoratedSubscriber{of: s}) {
		t.Errorf("not the outermost Subscriber is found: %t, %v", ok, got)
	}
}

func TestOrderString(t *testing.T) {
	for order, want := range map[adapters.Order]string{
		adapters.KeyOrdered: "KeyOrdered", adapters.Ordered: "Ordered", adapters.Unordered: "Unordered", 200: "Unordered",
	} {
		if order.String() != want {
			t.Errorf("%d is %s, want %s", order, order, want)
		}
	}
	if adapters.Order(0) != adapters.KeyOrdered {
		t.Error("the zero Order is not KeyOrdered")
	}
}
