package idempotency_test

import (
	"context"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
)

// BenchmarkReceiver is Enter, Exit and settle of one message with an id never seen before, out of a
// million, a store sized beforehand included. "map" is the least a receiver could do: one Go map of
// the ids, no claim, no lease, no bound.
func BenchmarkReceiver(b *testing.B) {
	const n = 1_000_000
	ids := make([]string, n)
	for i := range ids {
		ids[i] = channel.NewID().String()
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		var r channel.Interceptor
		var e channel.Envelope
		body := any(struct{ A int }{1})
		for i := 0; b.Loop(); i++ {
			if i%n == 0 {
				b.StopTimer()
				r = idempotency.Receiver{Store: &idempotency.Memory{Max: 4 * n, Expect: n}}
				one(b, r, &e, "warm", body)
				b.StartTimer()
			}
			one(b, r, &e, ids[i%n], body)
		}
	})
	b.Run("bounded", func(b *testing.B) { // both generations full, the oldest forgotten
		b.ReportAllocs()
		r := channel.Interceptor(idempotency.Receiver{Store: &idempotency.Memory{Max: n / 2}})
		var e channel.Envelope
		body := any(struct{ A int }{1})
		for _, id := range ids {
			one(b, r, &e, id, body)
		}
		for i := 0; b.Loop(); i++ {
			one(b, r, &e, ids[i%n], body)
		}
	})
	b.Run("duplicate", func(b *testing.B) {
		b.ReportAllocs()
		r := channel.Interceptor(idempotency.Receiver{Store: &idempotency.Memory{Max: 4 * n, Expect: n}})
		var e channel.Envelope
		for _, id := range ids {
			one(b, r, &e, id, struct{}{})
		}
		for i := 0; b.Loop(); i++ {
			e.Arrive(&channel.Arrival{Context: context.Background(), Scope: "orders/pack", ID: ids[i%n], HasBody: true, Body: struct{}{}})
			res, _, err := r.Enter(&e)
			if err != nil || res.Outcome() != channel.Dropped {
				b.Fatal(res.Outcome(), err)
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		b.ReportAllocs()
		var m map[channel.ID]bool
		for i := 0; b.Loop(); i++ {
			if i%n == 0 {
				b.StopTimer()
				m = make(map[channel.ID]bool, n)
				b.StartTimer()
			}
			id := channel.IDOf(ids[i%n])
			if !m[id] {
				m[id] = true
			}
		}
	})
}

func one(b *testing.B, r channel.Interceptor, e *channel.Envelope, id string, body any) {
	e.Arrive(&channel.Arrival{Context: context.Background(), Scope: "orders/pack", ID: id, HasBody: true, Body: body})
	_, exit, err := r.Enter(e)
	if err != nil {
		b.Fatal(err)
	}
	if exit == nil {
		return
	}
	res, err := exit(channel.Done(), nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := res.Settler()(e.Context(), nil); err != nil {
		b.Fatal(err)
	}
}
