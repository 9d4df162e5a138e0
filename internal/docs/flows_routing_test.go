package docs

import (
	"fmt"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// threeWayRouter is the README's.
func threeWayRouter() (*flow.Flow, error) {
	return flow.New("orders",
		flow.Step("by-region", Incoming, router.Content(
			router.When("eu", from("EU"), EU),
			router.When("us", from("US"), US),
			router.Otherwise(Rest),
		)),
		flow.Policy{Attempts: 3, DeadLetter: "orders.dead"},
	)
}

func contentBasedRouter() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("by-region", Incoming, router.Content(
			router.When("eu", from("EU"), EU),
			router.When("us", from("US"), US))),
		flow.Policy{DeadLetter: "orders.dead"})
}

// An order that no branch matches is an error, and in the dead letter.
func Example_contentBasedRouter() {
	run(contentBasedRouter, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Region: "US"})
		leattest.Send(k, Incoming, "2", Order{ID: "B", Region: "Mars"})
		fmt.Println(leattest.Got(k, US))
		for _, l := range k.Dead() {
			fmt.Println(l.ID, l.Class, l.Error)
		}
	})
	// Output:
	// [{A US []}]
	// 2 permanent none of the branches eu, us: no route matches the message: add a When or an Otherwise
}

func messageFilter() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("in-europe", Incoming, router.Filter(from("EU"), EU)),
		flow.Policy{DeadLetter: "orders.dead"})
}

// What is filtered out is counted, not lost from sight.
func Example_messageFilter() {
	run(messageFilter, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Region: "EU"})
		leattest.Send(k, Incoming, "2", Order{ID: "B", Region: "US"})
		fmt.Println(leattest.Got(k, EU))
		fmt.Println(k.Counts()["in-europe"])
	})
	// Output:
	// [{A EU []}]
	// received=2 sent=1 dropped(filtered)=1
}

func splitter() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("split", Incoming, router.Split(toLines, Lines)),
		flow.Policy{DeadLetter: "orders.dead"})
}

// An order without lines would become nothing, silently: it is an error.
func Example_splitter() {
	run(splitter, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Lines: []string{"tea", "milk"}})
		leattest.Send(k, Incoming, "2", Order{ID: "B"})
		fmt.Println(leattest.Got(k, Lines))
		for _, l := range k.Dead() {
			fmt.Println(l.ID, l.Error)
		}
	})
	// Output:
	// [{A tea} {A milk}]
	// 2 message has no parts to split into: set AllowEmpty to drop such messages
}

func messageSequence() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("split", Incoming, router.Split(toLines, Lines)),
		flow.Step("pack", Lines, &aggregator.Aggregator[Line, Parcel]{
			Correlate: func(l Line) string { return l.Order },
			Combine:   pack, To: Parcels, Timeout: time.Minute, Store: &aggregator.Memory{},
		}),
		flow.Policy{DeadLetter: "orders.dead"})
}

// The parts carry their place in the sequence; what is made of them is no part of it any more.
func Example_messageSequence() {
	run(messageSequence, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "order-1", Order{ID: "A", Lines: []string{"tea", "milk"}})
		for _, m := range k.Log("lines") {
			fmt.Println(m.Metadata["leat-sequence"], m.Metadata["leat-sequence-index"], "of", m.Metadata["leat-sequence-size"])
		}
		k.Wait(time.Minute)
		fmt.Println(leattest.Got(k, Parcels), k.Log("parcels")[0].Metadata["leat-sequence"])
	})
	// Output:
	// order-1 0 of 2
	// order-1 1 of 2
	// [{A [tea milk]}]
}

func aggregatorFlow() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("pack", Lines, &aggregator.Aggregator[Line, Parcel]{
			Correlate: func(l Line) string { return l.Order },
			Combine:   pack, To: Parcels,
			Size: 3, Timeout: time.Hour, Store: &aggregator.Memory{},
		}),
		flow.Policy{DeadLetter: "orders.dead"})
}

// Three lines are a parcel; after an hour two are one as well.
func Example_aggregator() {
	run(aggregatorFlow, func(k *leattest.Kit) {
		for i, article := range []string{"cup", "saucer", "spoon", "tea", "milk"} {
			order := "A"
			if i > 2 {
				order = "B"
			}
			leattest.Send(k, Lines, fmt.Sprint(i), Line{order, article})
		}
		fmt.Println(leattest.Got(k, Parcels))
		k.Wait(time.Hour)
		for _, m := range k.Log("parcels") {
			fmt.Println(string(m.Payload), "by", m.Metadata["leat-completed"])
		}
		fmt.Println(k.Counts()["pack"])
	})
	// Output:
	// [{A [cup saucer spoon]}]
	// {"Order":"A","Articles":["cup","saucer","spoon"]} by size
	// {"Order":"B","Articles":["tea","milk"]} by timeout
	// received=5 sent=1 held=4 released=4 fired=1
}

func messageTranslator() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Policy{Attempts: 2, DeadLetter: "orders.dead"})
}

// An error of the mapper is the message's: tried again, then the dead letter.
func Example_messageTranslator() {
	run(messageTranslator, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Lines: []string{"tea"}})
		leattest.Send(k, Incoming, "2", Order{ID: "B"})
		k.Wait(time.Minute) // for the retry
		fmt.Println(leattest.Got(k, Invoices))
		for _, l := range k.Dead() {
			fmt.Println(l.ID, l.Class, l.Error)
		}
	})
	// Output:
	// [{A 100}]
	// 2 transient order has no lines
}

// A Till and a Web shop speak of orders in their own way.
type (
	Till struct{ Number int }
	Web  struct{ Cart string }
)

func fromTill(t Till) (Order, error) { return Order{ID: fmt.Sprint("till-", t.Number)}, nil }
func fromWeb(w Web) (Order, error)   { return Order{ID: "web-" + w.Cart}, nil }

func normalizer() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("from-till", "sales.till", translator.Map(fromTill, Incoming)),
		flow.Step("from-web", "sales.web", translator.Map(fromWeb, Incoming)),
		flow.Step("ship", Incoming, endpoint.Do(ship)),
		flow.Direct(Incoming),
		flow.Policy{DeadLetter: "orders.dead"})
}

// A translator for each format; behind them there is one, the canonical Order.
func Example_normalizer() {
	run(normalizer, func(k *leattest.Kit) {
		leattest.Send(k, "sales.till", "1", Till{Number: 7})
		leattest.Send(k, "sales.web", "2", Web{Cart: "x"})
	})
	// Output:
	// shipped till-7
	// shipped web-x
}
