package router_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/blocktest"
	"github.com/leat-go/leat/router"
)

func TestFilterProcess(t *testing.T) {
	plain := router.Filter(from("EU"), eu)
	discard := plain
	discard.Discard = rest
	reason := plain
	reason.Reason = "not ours"
	byHeader := router.FilterMessage(func(m channel.Message[order]) bool { return m.Get("x-test") == "" }, eu)
	for _, c := range []struct {
		name          string
		block         router.MessageFilter[order]
		region        string
		headers       []string
		outcome       channel.Outcome
		topic, reason string
	}{
		{"kept", plain, "EU", nil, channel.Sent, "orders.eu", ""},
		{"dropped", plain, "US", nil, channel.Dropped, "", "filtered"},
		{"dropped for a reason", reason, "US", nil, channel.Dropped, "", "not ours"},
		{"kept beside discard", discard, "EU", nil, channel.Sent, "orders.eu", ""},
		{"discarded", discard, "US", nil, channel.Sent, "orders.rest", ""},
		{"kept by header", byHeader, "US", nil, channel.Sent, "orders.eu", ""},
		{"dropped by header", byHeader, "US", []string{"x-test", "1"}, channel.Dropped, "", "filtered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := c.block.Process(channel.NewMessage("1", order{Region: c.region}, c.headers...))
			if err != nil || r.Outcome() != c.outcome || r.Reason() != c.reason {
				t.Fatalf("%v %q, error %v; want %v %q", r.Outcome(), r.Reason(), err, c.outcome, c.reason)
			}
			switch {
			case c.topic == "" && r.Len() != 0:
				t.Fatalf("a dropped message was sent to %s", r.At(0).Topic())
			case c.topic != "" && (r.Len() != 1 || r.At(0).Topic() != c.topic):
				t.Fatalf("%d deliveries, the first to %s; want one to %s", r.Len(), r.At(0).Topic(), c.topic)
			}
		})
	}
}

func TestFilterShape(t *testing.T) {
	s := router.Filter(from("EU"), eu).Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"kept>orders.eu"}) || s.Pattern != "Message Filter" || s.Tombstones {
		t.Errorf("%q, outlets %q, tombstones %t", s.Pattern, got, s.Tombstones)
	}
	f := router.Filter(from("EU"), eu)
	f.Discard = rest
	s = f.Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"kept>orders.eu", "discarded>orders.rest"}) {
		t.Errorf("outlets %q", got)
	}
	f = router.Filter[order](nil, "")
	f.Discard, f.Reason = "orders.*", "why"
	blocktest.CheckShape(t, f.Shape(),
		`router.Filter: Keep is nil: give it the predicate of what goes on`,
		`router.Filter: To has no topic: name the one it sends to`,
		`router.Filter: Discard sends to "orders.*", which stands for many topics: name one`,
		`router.Filter: Reason "why" is never used while Discard is set: remove one of them`,
	)
}

// With Discard nothing is lost: every message comes out once, as it came in.
func TestFilterProperty(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		limit := rnd.IntN(100)
		block := router.Filter(func(x int) bool { return x < limit }, channel.Topic[int]("kept"))
		block.Discard = "discarded"
		for range 20 {
			x := rnd.IntN(100)
			want := "kept"
			if x >= limit {
				want = "discarded"
			}
			payload := " " + strconv.Itoa(x)
			got := blocktest.Twice(t, block, channel.Arrival{Scope: "f/s", ID: "1", Payload: []byte(payload)})
			if len(got) != 1 || got[0].Topic != want || got[0].Payload != payload {
				t.Fatalf("seed %d: %d with limit %d went to %+v, want %s", seed, x, limit, got, want)
			}
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	m := channel.NewMessage("1", order{Region: "US"})
	b.Run("kept", func(b *testing.B) { benchmark(b, router.Filter(from("US"), us), m) })
	b.Run("dropped", func(b *testing.B) { benchmark(b, router.Filter(from("EU"), eu), m) })
}
