package docs

import (
	"testing"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// TestWatermillForms: a block alone in a plain router is taken in the form that its page names, and
// refused in the one that its page rules out.
func TestWatermillForms(t *testing.T) {
	discard := router.Filter(from("EU"), EU)
	discard.Discard = Rest
	pair := &aggregator.Aggregator[Line, Parcel]{
		Correlate: func(l Line) string { return l.Order }, Combine: pack, To: Parcels, Size: 2, Store: &aggregator.Memory{},
	}
	around := flow.Around(channel.Expiry{To: "late"}, channel.InvalidChannel{To: "invalid"}, idempotency.Receiver{Store: &idempotency.Memory{}})
	for _, x := range []struct {
		page          string
		handler, pure error // of flow.Handler and of flow.HandlerFunc
		isHandler     bool
		isPure        bool
	}{
		{"content-based-router.md", handler(router.Content(router.When("eu", from("EU"), EU), router.Otherwise(Rest))), pure(router.Content(router.When("eu", from("EU"), EU), router.Otherwise(Rest))), true, false},
		{"message-filter.md", handler(router.Filter(from("EU"), EU)), pure(router.Filter(from("EU"), EU)), true, true},
		{"message-filter.md, with Discard", handler(discard), pure(discard), true, false},
		{"splitter.md", handler(router.Split(toLines, Lines)), pure(router.Split(toLines, Lines)), true, true},
		{"message-translator.md", handler(translator.Map(toInvoice, Invoices)), pure(translator.Map(toInvoice, Invoices)), true, true},
		{"service-activator.md", handler(endpoint.Do(charge)), pure(endpoint.Do(charge)), true, false},
		{"message-endpoint.md", handler(endpoint.Wrap(audit)), pure(endpoint.Wrap(audit)), true, false},
		{"aggregator.md", handler(pair), pure(pair), false, false},
		{"message-expiration.md and others that stand around", handler(endpoint.Do(charge), around), nil, true, true},
	} {
		if (x.handler == nil) != x.isHandler {
			t.Errorf("%s: flow.Handler takes it: %t, want %t: %v", x.page, x.handler == nil, x.isHandler, x.handler)
		}
		if (x.pure == nil) != x.isPure {
			t.Errorf("%s: flow.HandlerFunc takes it: %t, want %t: %v", x.page, x.pure == nil, x.isPure, x.pure)
		}
	}
}

func handler[T any](block channel.Processor[T], parts ...flow.Part) error {
	_, err := flow.Handler("alone", block, (&memory.Broker{}).Publisher(), append(parts, flow.Policy{DeadLetter: "dead"})...)
	return err
}

func pure[T any](block channel.Processor[T]) error {
	_, err := flow.HandlerFunc("alone", block)
	return err
}
