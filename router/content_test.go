package router_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/blocktest"
	"github.com/leat-go/leat/router"
)

type order struct {
	Region string `json:"region"`
	Lines  []line `json:"lines,omitempty"`
}

type line struct {
	SKU   string `json:"sku"`
	Parts []int  `json:"parts,omitempty"`
}

const (
	eu   channel.Topic[order] = "orders.eu"
	us   channel.Topic[order] = "orders.us"
	rest channel.Topic[order] = "orders.rest"
	test channel.Topic[order] = "orders.test"
)

func from(region string) func(order) bool {
	return func(o order) bool { return o.Region == region }
}

func is(want string) func(string) bool {
	return func(got string) bool { return got == want }
}

func TestContentProcess(t *testing.T) {
	urgent := func(m channel.Message[order]) bool { return m.Key() == "vip" && m.Attempt() == 1 }
	strict := router.Content(router.When("eu", from("EU"), eu), router.When("us", from("US"), us))
	all := router.Content(
		router.WhenMessage("urgent", urgent, "orders.urgent"),
		router.WhenHeader("test", "x-test", is("yes"), test),
		router.When("eu", from("EU"), eu),
		router.When("eu again", from("EU"), us),
		router.Otherwise(rest),
	)
	for _, c := range []struct {
		name    string
		block   router.ContentBasedRouter[order]
		region  string
		headers []string
		topic   string
		err     error
	}{
		{"by body", strict, "US", nil, "orders.us", nil},
		{"no branch", strict, "MARS", nil, "", channel.ErrNoRoute},
		{"the first of two", all, "EU", nil, "orders.eu", nil},
		{"otherwise", all, "MARS", nil, "orders.rest", nil},
		{"by header", all, "EU", []string{"x-test", "yes"}, "orders.test", nil},
		{"another value", all, "EU", []string{"x-test", "no"}, "orders.eu", nil},
		{"by message", all, "EU", []string{channel.HeaderKey, "vip", "x-test", "yes"}, "orders.urgent", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := c.block.Process(channel.NewMessage("1", order{Region: c.region}, c.headers...))
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("err = %v, want %v", err, c.err)
			}
			if c.err != nil {
				if r.Outcome() != channel.Unsaid || r.Len() != 0 || !channel.IsPermanent(err) {
					t.Fatalf("%v with %d deliveries, permanent: %t", r.Outcome(), r.Len(), channel.IsPermanent(err))
				}
				if !strings.Contains(err.Error(), "eu, us") {
					t.Errorf("%q does not name the branches", err)
				}
				return
			}
			if r.Outcome() != channel.Sent || r.Len() != 1 || r.At(0).Topic() != c.topic {
				t.Fatalf("%v, %d deliveries, the first to %s; want one to %s", r.Outcome(), r.Len(), r.At(0).Topic(), c.topic)
			}
		})
	}
}

func TestContentForwardsBytesAsTheyCame(t *testing.T) {
	block := router.Content(router.When("eu", from("EU"), eu))
	payload := `{ "unknown": 1.0, "region" : "EU" }` // encoding/json would write it differently
	got := blocktest.Twice(t, block, channel.Arrival{
		Topic: "orders", Scope: "f/s", ID: "1", Key: "k", Payload: []byte(payload),
		Headers: channel.Fields{{Name: channel.HeaderContentType, Value: "application/json"}, {Name: "tenant", Value: "a"}},
	})
	if len(got) != 1 || got[0].Payload != payload || got[0].Key != "k" {
		t.Fatalf("sent %+v", got)
	}
	for name, want := range map[string]string{"tenant": "a", channel.HeaderContentType: "application/json", channel.HeaderOriginal: "1"} {
		if v := got[0].Headers.Get(name); v != want {
			t.Errorf("header %s = %q, want %q", name, v, want)
		}
	}
}

// unreadable is a codec that fails the test that uses it.
type unreadable struct{ t *testing.T }

func (u unreadable) Encode(any) ([]byte, error) { u.t.Error("encoded"); return nil, errors.New("no") }
func (u unreadable) Decode([]byte, any) error   { u.t.Error("decoded"); return errors.New("no") }
func (unreadable) ContentType() string          { return "none" }

func TestContentOnHeadersDecodesNothing(t *testing.T) {
	block := router.Content(
		router.WhenHeader("eu", "region", is("EU"), channel.Topic[[]byte]("eu")),
		router.Otherwise(channel.Topic[[]byte]("rest")),
	)
	for region, topic := range map[string]string{"EU": "eu", "": "rest"} {
		got := blocktest.Twice(t, block, channel.Arrival{
			ID: "1", Payload: []byte("not JSON"), Codecs: &channel.Codecs{Default: unreadable{t}},
			Headers: channel.Fields{{Name: "region", Value: region}},
		})
		if len(got) != 1 || got[0].Topic != topic || got[0].Payload != "not JSON" {
			t.Fatalf("region %q: sent %+v", region, got)
		}
	}
}

func TestContentTombstones(t *testing.T) {
	byHeader := router.Content(router.WhenHeader("eu", "region", is("EU"), eu), router.Otherwise(rest))
	if !byHeader.Shape().Tombstones {
		t.Error("a router of headers refuses tombstones")
	}
	got := blocktest.Twice(t, byHeader, channel.Arrival{ID: "1", Key: "k", Headers: channel.Fields{{Name: "region", Value: "EU"}}})
	if len(got) != 1 || !got[0].Tombstone || got[0].Topic != "orders.eu" || got[0].Key != "k" {
		t.Fatalf("sent %+v", got)
	}
	for _, b := range []router.Branch[order]{
		router.When("x", from("EU"), eu),
		router.WhenMessage("x", func(channel.Message[order]) bool { return true }, eu),
		{Name: "x", To: eu, Match: func(channel.Message[order]) bool { return true }},
	} {
		if router.Content(b, router.Otherwise(rest)).Shape().Tombstones {
			t.Error("a predicate that may read the body would get a body that is not there")
		}
	}
}

func TestContentShape(t *testing.T) {
	s := router.Content(router.When("eu", from("EU"), eu), router.When("uk", from("UK"), eu), router.Otherwise(rest)).Shape()
	blocktest.CheckShape(t, s)
	if got := blocktest.Outlets(s); !slices.Equal(got, []string{"eu>orders.eu", "uk>orders.eu", "otherwise>orders.rest"}) {
		t.Errorf("outlets %q", got)
	}
	if s.Pattern != "Content-Based Router" || s.Effect != channel.Pure {
		t.Errorf("pattern %q, effect %v", s.Pattern, s.Effect)
	}
	blocktest.CheckShape(t, router.Content[order]().Shape(), "router.Content: no branches: add a When or an Otherwise")
	blocktest.CheckShape(t, router.Content(
		router.Otherwise(rest),
		router.When("", from("EU"), eu),
		router.When("us", nil, us),
		router.When("us", from("US"), ""),
		router.When("all", from("US"), "orders.*"),
		router.WhenHeader("h", "", nil, eu),
		router.WhenMessage("m", nil, eu),
	).Shape(),
		`router.Content: branch 1 ("otherwise") is Otherwise with branches after it, which nothing would reach: make it the last`,
		`router.Content: branch 2 ("") has no name: give it one for the drawing`,
		`router.Content: branch 3 ("us") has no predicate: give it one, or make it Otherwise`,
		`router.Content: branch 4 ("us") has the name of branch 3: rename one`,
		`router.Content: branch 4 ("us") has no topic: name the one it sends to`,
		`router.Content: branch 5 ("all") sends to "orders.*", which stands for many topics: name one`,
		`router.Content: branch 6 ("h") has no predicate: give it one, or make it Otherwise`,
		`router.Content: branch 6 ("h") names no header: name the one it reads`,
		`router.Content: branch 7 ("m") has no predicate: give it one, or make it Otherwise`,
	)
}

func TestPredicatesPanicReachesTheEngine(t *testing.T) {
	boom := func(order) bool { panic("boom") }
	for name, p := range map[string]channel.Processor[order]{
		"content": router.Content(router.When("x", boom, eu), router.Otherwise(rest)),
		"filter":  router.Filter(boom, eu),
		"split":   router.Split(func(order) []line { panic("boom") }, "lines"),
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v: the engine would not see the panic", p)
				}
			}()
			_, err := p.Process(channel.NewMessage("1", order{}))
			t.Errorf("returned, error %v", err)
		})
	}
}

// Every message goes to exactly one topic: that of the first branch that matches.
func TestContentProperty(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		n := 1 + rnd.IntN(6)
		branches := make([]router.Branch[int], n)
		divisors := make([]int, n)
		for i := range branches {
			divisors[i] = 1 + rnd.IntN(9)
			name := strconv.Itoa(i)
			branches[i] = router.When(name, func(x int) bool { return x%divisors[i] == 0 }, channel.Topic[int](name))
		}
		block := router.Content(append(branches, router.Otherwise(channel.Topic[int]("rest")))...)
		for range 20 {
			x := rnd.IntN(1000)
			want := "rest"
			if i := slices.IndexFunc(divisors, func(d int) bool { return x%d == 0 }); i >= 0 {
				want = strconv.Itoa(i)
			}
			got := blocktest.Twice(t, block, channel.Arrival{Scope: "f/s", ID: strconv.Itoa(x), Payload: []byte(strconv.Itoa(x))})
			if len(got) != 1 || got[0].Topic != want || got[0].Payload != strconv.Itoa(x) {
				t.Fatalf("seed %d: %d with divisors %v went to %+v, want %s", seed, x, divisors, got, want)
			}
		}
	}
}

func BenchmarkContent(b *testing.B) {
	for name, block := range map[string]router.ContentBasedRouter[order]{
		"body":   router.Content(router.When("eu", from("EU"), eu), router.When("us", from("US"), us), router.Otherwise(rest)),
		"header": router.Content(router.WhenHeader("eu", "region", is("EU"), eu), router.WhenHeader("us", "region", is("US"), us), router.Otherwise(rest)),
	} {
		b.Run(name, func(b *testing.B) { benchmark(b, block, channel.NewMessage("1", order{Region: "US"}, "region", "US")) })
	}
}

func benchmark[T any](b *testing.B, p channel.Processor[T], m channel.Message[T]) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := p.Process(m); err != nil || r.Outcome() == channel.Unsaid {
			b.Fatal(err)
		}
	}
}

func TestContentAllocatesNothing(t *testing.T) {
	var p channel.Processor[order] = router.Content(
		router.WhenHeader("x", "x", is("x"), us),
		router.When("eu", from("EU"), eu),
		router.Otherwise(rest),
	)
	m := channel.NewMessage("1", order{Region: "EU"})
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Process(m) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}
