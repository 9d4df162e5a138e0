package translator_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/blocktest"
	"github.com/leat-go/leat/translator"
)

type order struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

type invoice struct {
	Order  string `json:"order"`
	Euros  string `json:"euros"`
	Tenant string `json:"tenant,omitempty"`
}

const invoices channel.Topic[invoice] = "invoices"

func toInvoice(o order) (invoice, error) {
	if o.Cents < 0 {
		return invoice{Order: o.ID}, fmt.Errorf("%w: order %s has a negative total", channel.ErrInvalid, o.ID)
	}
	return invoice{Order: o.ID, Euros: fmt.Sprintf("%d.%02d", o.Cents/100, o.Cents%100)}, nil
}

func withTenant(m channel.Message[order]) (invoice, error) {
	return invoice{Order: m.Body.ID, Tenant: m.Get("tenant")}, nil
}

func TestMapProcess(t *testing.T) {
	keyed := translator.Map(toInvoice, invoices)
	keyed.Key = func(i invoice) string { return i.Order }
	noKey := keyed
	noKey.Key = func(invoice) string { return "" }
	for _, c := range []struct {
		name         string
		block        translator.MessageTranslator[order, invoice]
		key, payload string
	}{
		{"by body", translator.Map(toInvoice, invoices), "k", `{"order":"o1","euros":"12.05"}`},
		{"by message", translator.MapMessage(withTenant, invoices), "k", `{"order":"o1","euros":"","tenant":"a"}`},
		{"a key of its own", keyed, "o1", `{"order":"o1","euros":"12.05"}`},
		{"an empty key", noKey, "k", `{"order":"o1","euros":"12.05"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := blocktest.Twice(t, c.block, channel.Arrival{
				Topic: "orders", Scope: "f/s", ID: "1", Key: "k", Payload: []byte(`{"id":"o1","cents":1205}`),
				Headers: channel.Fields{{Name: "tenant", Value: "a"}, {Name: channel.HeaderSchema, Value: "order-v1"}},
			})
			if len(got) != 1 || got[0].Topic != "invoices" || got[0].Payload != c.payload || got[0].Key != c.key {
				t.Fatalf("sent %+v, want %s under key %s", got, c.payload, c.key)
			}
			// The schema is the old payload's.
			if h := got[0].Headers; h.Get("tenant") != "a" || h.Get(channel.HeaderSchema) != "" {
				t.Errorf("headers %v", h)
			}
			if got[0].ID == "1" {
				t.Error("the new message has the old one's id")
			}
		})
	}
}

func TestMapError(t *testing.T) {
	r, err := translator.Map(toInvoice, invoices).Process(channel.NewMessage("1", order{ID: "o1", Cents: -1}))
	if !errors.Is(err, channel.ErrInvalid) || r.Len() != 0 || r.Outcome() != channel.Unsaid {
		t.Errorf("%v with %d deliveries, error %v", r.Outcome(), r.Len(), err)
	}
	errDown := errors.New("down")
	_, err = translator.MapMessage(func(channel.Message[order]) (invoice, error) {
		return invoice{}, errDown
	}, invoices).Process(channel.NewMessage("1", order{}))
	if !errors.Is(err, errDown) || channel.IsPermanent(err) {
		t.Errorf("error %v, permanent: %t; want it as it was", err, channel.IsPermanent(err))
	}
}

func TestMapPanicReachesTheEngine(t *testing.T) {
	defer func() {
		if p := recover(); p != "boom" {
			t.Errorf("recovered %v: the engine would not see the panic", p)
		}
	}()
	_, err := translator.Map(func(order) (invoice, error) { panic("boom") }, invoices).Process(channel.NewMessage("1", order{}))
	t.Errorf("returned, error %v", err)
}

func TestMapShape(t *testing.T) {
	s := translator.Map(toInvoice, invoices).Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"translated>invoices"}) || s.Pattern != "Message Translator" || s.Effect != channel.Pure || s.Tombstones {
		t.Errorf("%q, outlets %q, effect %v, tombstones %t", s.Pattern, got, s.Effect, s.Tombstones)
	}
	for _, block := range []translator.MessageTranslator[order, invoice]{
		translator.Map[order, invoice](nil, ""), translator.MapMessage[order, invoice](nil, ""),
	} {
		blocktest.CheckShape(t, block.Shape(),
			`translator.Map: Translate is nil: give it the function that makes the new body`,
			`translator.Map: To is empty: name the topic it sends to`)
	}
	blocktest.CheckShape(t, translator.Map(toInvoice, "invoices.*").Shape(),
		`translator.Map: To is "invoices.*", which stands for many topics: name one`)
}

// Every message comes to exactly one, and that is what the function says.
func TestMapProperty(t *testing.T) {
	block := translator.Map(func(n int) (string, error) { return "n" + strconv.Itoa(n), nil }, channel.Topic[string]("names"))
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		n, id := rnd.Int(), strconv.Itoa(rnd.Int())
		got := blocktest.Twice(t, block, channel.Arrival{Scope: "f/s", ID: id, Payload: []byte(strconv.Itoa(n))})
		if want := strconv.Quote("n" + strconv.Itoa(n)); len(got) != 1 || got[0].Payload != want {
			t.Fatalf("seed %d: sent %+v, want %s", seed, got, want)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	var p channel.Processor[order] = translator.Map(func(o order) (invoice, error) { return invoice{Order: o.ID}, nil }, invoices)
	m := channel.NewMessage("1", order{ID: "o1"})
	b.ReportAllocs()
	for b.Loop() {
		if r, err := p.Process(m); err != nil || r.Len() != 1 {
			b.Fatal(err)
		}
	}
}
