package endpoint_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/internal/blocktest"
)

const receipts channel.Topic[string] = "receipts"

func charge(_ context.Context, p payment) (string, error) {
	if p.Cents < 0 {
		return "half a receipt", errDown
	}
	return "charged " + strconv.Itoa(p.Cents), nil
}

func TestCallProcess(t *testing.T) {
	block := endpoint.Call(charge, receipts)
	for seed := range uint64(200) {
		cents := strconv.Itoa(rand.New(rand.NewPCG(seed, 5)).IntN(1_000_000))
		got := blocktest.Twice(t, block, channel.Arrival{
			Scope: "f/s", ID: "1", Key: "k", Payload: []byte(`{"cents":` + cents + `}`),
			Headers: channel.Fields{{Name: "reply-to", Value: "x"}},
		})
		if len(got) != 1 || got[0].Topic != "receipts" || got[0].Payload != `"charged `+cents+`"` ||
			got[0].Key != "k" || got[0].Headers.Get("reply-to") != "x" {
			t.Fatalf("seed %d: sent %+v", seed, got)
		}
	}
	r, err := block.Process(channel.NewMessage("1", payment{-1}))
	if !errors.Is(err, errDown) || r.Len() != 0 || r.Outcome() != channel.Unsaid {
		t.Errorf("%v with %d deliveries, error %v", r.Outcome(), r.Len(), err)
	}
}

func TestCallShape(t *testing.T) {
	s := endpoint.Call(charge, receipts).Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"answer>receipts"}) || s.Pattern != "Service Activator" || s.Effect != channel.Acts {
		t.Errorf("%q, outlets %q, effect %v", s.Pattern, got, s.Effect)
	}
	blocktest.CheckShape(t, endpoint.Call[payment, string](nil, "").Shape(),
		`endpoint.Call: Act is nil: give it the function to call`,
		`endpoint.Call: To is empty: name the topic it sends to`)
	blocktest.CheckShape(t, endpoint.Call(charge, "receipts.*").Shape(),
		`endpoint.Call: To is "receipts.*", which stands for many topics: name one`)
}

func BenchmarkCall(b *testing.B) {
	benchmark(b, endpoint.Call(func(context.Context, payment) (string, error) { return "ok", nil }, receipts), channel.NewMessage("1", payment{}))
}
