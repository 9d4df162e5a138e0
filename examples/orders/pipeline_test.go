package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/examples/orders/domain"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

// stock is what the tests order from.
func stock() (w, g *domain.Inventory) {
	return &domain.Inventory{Stock: map[string]int{"W1": 100}},
		&domain.Inventory{
			Stock: map[string]int{"G1": 100, "G2": 100, "G13": -1}, Shelf: map[string]int{"G13": 5}, Slow: map[string]bool{"G2": true},
		}
}

// order makes an order of items, one of each.
func order(id string, items ...string) domain.Order {
	o := domain.Order{ID: id}
	for _, item := range items {
		o.Lines = append(o.Lines, domain.Line{Item: item, Quantity: 1})
	}
	return o
}

// world runs the flow in virtual time.
func world(t *testing.T, test func(k *leattest.Kit)) {
	t.Helper()
	w, g := stock()
	f, err := declare(w, g, &aggregator.Memory{}, newLedger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	leattest.Run(t, f, test)
}

func send(k *leattest.Kit, o domain.Order) {
	leattest.Send(k, newOrders, o.ID, o, channel.HeaderKey, o.ID)
}

// texts gives what was sent to a topic, as people read it.
func texts(k *leattest.Kit, topic channel.Topic[domain.Outcome]) (all []string) {
	for _, o := range leattest.Got(k, topic) {
		all = append(all, o.Order+": "+o.String())
	}
	slices.Sort(all)
	return all
}

func TestWhereAnOrderGoes(t *testing.T) {
	for _, c := range []struct {
		name  string
		order domain.Order
		to    channel.Topic[domain.Outcome]
		text  string
	}{
		{"both inventories", order("7", "W1", "G1", "W1"), confirmed, "7: booked 1 x W1, 1 x G1, 1 x W1"},
		{"small letters", order("7", "w1"), confirmed, "7: booked 1 x W1"},
		{"slow", order("7", "G2", "G1", "G2"), confirmed, "7: booked 1 x G2, 1 x G1, 1 x G2"},
		{"out of stock", order("7", "W9", "G1"), backOrdered, "7: booked 1 x G1; short 1 x W9"},
		{"invalid item", order("7", "W1", "X1"), confirmed, "7: booked 1 x W1; not sold 1 x X1"},
		{"nothing that we sell", order("7", "X1"), refused, "7: not sold 1 x X1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			world(t, func(k *leattest.Kit) {
				send(k, c.order)
				k.Wait(time.Minute)
				if got := texts(k, c.to); !slices.Equal(got, []string{c.text}) {
					t.Errorf("on %s: %q, want %q", c.to, got, c.text)
				}
			})
		})
	}
}

func TestInvalidOrdersDoNotReachTheInventories(t *testing.T) {
	world(t, func(k *leattest.Kit) {
		send(k, order("7"))
		k.World.Put(string(newOrders), "8", "not JSON", channel.HeaderKey, "8")
		k.Drain()
		got := k.Log(string(invalid))
		if len(got) != 2 || !strings.Contains(got[0].Metadata[channel.HeaderReason], "it has no lines") || string(got[1].Payload) != "not JSON" {
			t.Errorf("on %s: %v", invalid, got)
		}
		if c := k.Counts()["split"]; c.Received != 0 {
			t.Errorf("split: %v", c)
		}
	})
}

// TestARetryHoldsUpItsOrderAlone: of an order whose line waits for a retry nothing is overtaken, and other
// orders go on.
func TestARetryHoldsUpItsOrderAlone(t *testing.T) {
	world(t, func(k *leattest.Kit) {
		send(k, order("slow", "G2", "W1"))
		send(k, order("quick", "W1", "G1"))
		if got := texts(k, confirmed); !slices.Equal(got, []string{"quick: booked 1 x W1, 1 x G1"}) {
			t.Errorf("before the retry: %q", got)
		}
		if got := leattest.Got(k, answers); len(got) != 2 {
			t.Errorf("the second line of the slow order overtook the first: %v", got)
		}
		k.Wait(time.Second)
		if got := texts(k, confirmed); len(got) != 2 {
			t.Errorf("after the retry: %q", got)
		}
		if c := k.Counts()["by-item"]; c.Retries != 1 || c.Dead != 0 {
			t.Errorf("by-item: %v", c)
		}
	})
}

// TestAPoisonedLineIsPutBack: it dies at once, its order waits for it, and put back after a repair it
// completes the order.
func TestAPoisonedLineIsPutBack(t *testing.T) {
	w, g := stock()
	f, err := declare(w, g, &aggregator.Memory{}, newLedger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	leattest.Run(t, f, func(k *leattest.Kit) {
		send(k, order("7", "G13", "W1"))
		letters := k.Dead()
		if len(letters) != 1 || letters[0].Step != gadgetInventory || letters[0].Key != "7" || letters[0].Message.Metadata[flow.DeadAttempts] != "1" {
			t.Fatalf("dead letters: %+v", letters)
		}
		k.Wait(time.Hour)
		if got := leattest.Got(k, outcomes); len(got) != 0 {
			t.Fatalf("the order did not wait: %v", got)
		}
		putBack := func() {
			topic, m, err := flow.PutBack(letters[0].Message)
			if err != nil {
				t.Fatal(err)
			}
			k.World.PutMessage(topic, m)
			synctest.Wait()
		}
		putBack() // too early
		if got := k.Dead(); len(got) != 2 {
			t.Fatalf("%d dead letters, want 2", len(got))
		}
		g.Recount()
		putBack()
		if got := texts(k, confirmed); !slices.Equal(got, []string{"7: booked 1 x G13, 1 x W1"}) {
			t.Errorf("after the repair: %q", got)
		}
	})
}

// TestAnOrderDeliveredTwiceIsBookedOnce: its messages have the same ids the second time.
func TestAnOrderDeliveredTwiceIsBookedOnce(t *testing.T) {
	w, g := stock()
	f, err := declare(w, g, &aggregator.Memory{}, newLedger(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	leattest.Run(t, f, func(k *leattest.Kit) {
		send(k, order("7", "W1", "G1"))
		send(k, order("7", "W1", "G1"))
		if got := leattest.Got(k, outcomes); len(got) != 1 {
			t.Errorf("outcomes: %v", got)
		}
		if w.Stock["W1"] != 99 || g.Stock["G1"] != 99 {
			t.Errorf("left: %d and %d", w.Stock["W1"], g.Stock["G1"])
		}
		if c := k.Counts()["assemble"]; c.DroppedAll() != 2 {
			t.Errorf("assemble: %v", c)
		}
	})
}
