package docs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

func messageChannel() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Step("mail", Invoices, endpoint.Do(mail)),
		flow.Policy{DeadLetter: "orders.dead"})
}

// The compiler checks each end of a channel. That both ends name the same type, New does.
func Example_messageChannel() {
	_, err := flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Step("mail", channel.Topic[Order](Invoices), endpoint.Do(ship)), // another type on the same topic
		flow.Policy{DeadLetter: "orders.dead"})
	fmt.Println(err)
	// Output:
	// flow shop: step mail: topic invoices carries docs.Order here and docs.Invoice at step invoice: one topic, one type: name another topic, or translate between them
}

func messageFlow() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("charge", Payments, endpoint.DoMessage(func(m channel.Message[Payment]) error {
			fmt.Println(m.ID(), m.Key(), m.Get("tenant"), m.Body.Cents, "attempt", m.Attempt())
			return nil
		})),
		flow.Policy{DeadLetter: "payments.dead"})
}

// A block sees the body and everything beside it.
func Example_message() {
	run(messageFlow, func(k *leattest.Kit) {
		leattest.Send(k, Payments, "payment-1", Payment{Cents: 250}, channel.HeaderKey, "account-7", "tenant", "acme")
	})
	// Output:
	// payment-1 account-7 acme 250 attempt 1
}

func publishSubscribe() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Step("ship", Incoming, endpoint.Do(ship), flow.Group("shipping")),
		flow.Policy{DeadLetter: "orders.dead"})
}

// Both steps get every order.
func Example_publishSubscribe() {
	run(publishSubscribe, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Lines: []string{"tea"}})
		fmt.Println(k.Counts()["invoice"])
		fmt.Println(k.Counts()["ship"])
	})
	// Output:
	// shipped A
	// received=1 sent=1
	// received=1 done=1
}

func messageExpiration() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("ship", Incoming, endpoint.Do(ship), flow.Around(channel.Expiry{To: "orders.late"})),
		flow.Policy{DeadLetter: "orders.dead"})
}

// What comes too late goes to its named place, as it came.
func Example_messageExpiration() {
	run(messageExpiration, func(k *leattest.Kit) {
		until := func(d time.Duration) string { return time.Now().Add(d).Format(time.RFC3339) }
		leattest.Send(k, Incoming, "1", Order{ID: "A"}, channel.HeaderExpires, until(time.Hour))
		leattest.Send(k, Incoming, "2", Order{ID: "B"}, channel.HeaderExpires, until(-time.Second))
		fmt.Println(string(k.Log("orders.late")[0].Payload))
		fmt.Println(k.Counts()["ship"])
	})
	// Output:
	// shipped A
	// {"ID":"B","Region":"","Lines":null}
	// received=2 done=1 expired=1
}

func invalidMessageChannel() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("charge", Payments, endpoint.Do(charge), flow.Around(channel.InvalidChannel{To: "payments.invalid"})),
		flow.Policy{DeadLetter: "payments.dead"})
}

// What cannot be read goes to its named place, as it came, with the reason. The dead letter is empty.
func Example_invalidMessageChannel() {
	run(invalidMessageChannel, func(k *leattest.Kit) {
		k.World.Put("payments", "1", `{"Cents":"much"}`)
		leattest.Send(k, Payments, "2", Payment{Cents: 250})
		m := k.Log("payments.invalid")[0]
		fmt.Println(string(m.Payload), m.Metadata[channel.HeaderReason])
		fmt.Println(k.Counts()["charge"])
	})
	// Output:
	// charged 250
	// {"Cents":"much"} decoding docs.Payment from topic payments (16 bytes): payload cannot be decoded: JSON string at byte 15 does not fit int of field Cents
	// received=2 done=1 invalid=1
}

// Labels are text for a printer that knows no JSON.
const Labels channel.Topic[string] = "labels"

func formatIndicator() (*flow.Flow, error) {
	toLabel := func(o Order) (string, error) { return "order " + o.ID, nil }
	return flow.New("shop",
		flow.Step("label", Incoming, translator.Map(toLabel, Labels)),
		flow.Codec(channel.Raw{}, Labels), // every other topic is JSON
		flow.Policy{DeadLetter: "orders.dead"})
}

// What leaves says how it is to be read.
func Example_formatIndicator() {
	run(formatIndicator, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A"})
		m := k.Log("labels")[0]
		fmt.Printf("%s, %s\n", m.Payload, m.Metadata[channel.HeaderContentType])
	})
	// Output:
	// order A, application/octet-stream
}

func messageIdentity() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("in-europe", Incoming, router.Filter(from("EU"), EU)),
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Policy{DeadLetter: "orders.dead"})
}

// The order comes twice, as it does after a crash: its invoice has the same id both times, and says
// which order began it all.
func Example_messageIdentity() {
	run(messageIdentity, func(k *leattest.Kit) {
		for range 2 {
			leattest.Send(k, Incoming, "order-1", Order{ID: "A", Region: "EU", Lines: []string{"tea"}})
		}
		invoices := k.Log("invoices")
		fmt.Println(len(invoices), "invoices, one id:", invoices[0].UUID == invoices[1].UUID)
		fmt.Println("conversation", invoices[0].Metadata[channel.HeaderConversation])
	})
	// Output:
	// 2 invoices, one id: true
	// conversation order-1
}

func messageHistory() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("in-europe", Incoming, router.Filter(from("EU"), EU)),
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Step("mail", Invoices, endpoint.Do(func(context.Context, Invoice) error {
			return channel.Permanent(errors.New("no such address"))
		})),
		flow.Direct(EU),
		flow.History(),
		flow.Policy{DeadLetter: "orders.dead"})
}

// Of an invoice that could not be mailed, the dead letter says which steps it came through, direct hops
// included. The step where it died is in a header of its own.
func Example_messageHistory() {
	run(messageHistory, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Region: "EU", Lines: []string{"tea"}})
		letter := k.Dead()[0].Message
		fmt.Println(letter.Metadata[channel.HeaderHistory], "and died at", letter.Metadata[flow.DeadStep])
	})
	// Output:
	// shop/in-europe shop/invoice and died at mail
}

func pipesAndFilters() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("in-europe", Incoming, router.Filter(from("EU"), EU)),
		flow.Step("invoice", EU, translator.Map(toInvoice, Invoices)),
		flow.Step("mail", Invoices, endpoint.Do(mail)),
		flow.Direct(EU), // a hop in the process; Invoices is one over the broker
		flow.Policy{DeadLetter: "orders.dead"})
}

// Each step is counted by itself.
func Example_pipesAndFilters() {
	run(pipesAndFilters, func(k *leattest.Kit) {
		leattest.Send(k, Incoming, "1", Order{ID: "A", Region: "EU", Lines: []string{"tea"}})
		leattest.Send(k, Incoming, "2", Order{ID: "B", Region: "US"})
		for _, step := range []string{"in-europe", "invoice", "mail"} {
			fmt.Println(step, k.Counts()[step])
		}
	})
	// Output:
	// invoice for A of 100 cents
	// in-europe received=2 sent=1 dropped(filtered)=1
	// invoice received=1 sent=1
	// mail received=1 done=1
}

var errDeclined = errors.New("card declined")

func deadLetterChannel() (*flow.Flow, error) {
	debit := func(_ context.Context, p Payment) error {
		if p.Cents > 1000 {
			return errDeclined
		}
		fmt.Println("debited", p.Cents)
		return nil
	}
	return flow.New("shop",
		flow.Step("debit", Payments, endpoint.Do(debit)),
		flow.Policy{Attempts: 3, Backoff: flow.Fixed(time.Minute), DeadLetter: "payments.dead"})
}

// Three attempts, then the dead letter. Mended, it is put back.
func Example_deadLetterChannel() {
	run(deadLetterChannel, func(k *leattest.Kit) {
		leattest.Send(k, Payments, "payment-1", Payment{Cents: 5000})
		k.Wait(2 * time.Minute)
		letter := k.Dead()[0].Message
		fmt.Println(letter.UUID, "at", letter.Metadata[flow.DeadStep], "after", letter.Metadata[flow.DeadAttempts]+":", letter.Metadata[flow.DeadError])

		letter = letter.Copy()
		letter.Payload = []byte(`{"Cents":500}`)
		fmt.Println(k.Handle.PutBack(context.Background(), letter))
		fmt.Println(k.Counts()["debit"])
	})
	// Output:
	// payment-1 at debit after 3: card declined
	// debited 500
	// <nil>
	// received=2 done=1 dead=1 retries=2
}

func guaranteedDelivery() (*flow.Flow, error) {
	return flow.New("shop",
		flow.Step("invoice", Incoming, translator.Map(toInvoice, Invoices)),
		flow.Policy{DeadLetter: "orders.dead"})
}

// A broker that is down for a moment.
type flaky struct{ down int }

func (b *flaky) Publish(topic string, ms ...*message.Message) error {
	if b.down--; b.down >= 0 {
		fmt.Println("broker is down")
		return errors.New("broker is down")
	}
	fmt.Println("published on", topic+":", string(ms[0].Payload))
	return nil
}

func (b *flaky) Close() error { return nil }

// The handler returns, and the router acknowledges, after the publish got through. The mapper is not
// called again for it.
func Example_guaranteedDelivery() {
	count := func(o Order) (Invoice, error) {
		fmt.Println("invoicing", o.ID)
		return toInvoice(o)
	}
	h, err := flow.Handler("invoice", translator.Map(count, Invoices), &flaky{down: 2}, flow.Policy{DeadLetter: "orders.dead"})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = h(message.NewMessage("order-1", []byte(`{"ID":"A","Lines":["tea"]}`)))
	fmt.Println("acknowledge:", err == nil)
	// Output:
	// invoicing A
	// broker is down
	// broker is down
	// published on invoices: {"Order":"A","Cents":100}
	// acknowledge: true
}
