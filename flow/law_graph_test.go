package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

var errBadParcel = errors.New("parcel is damaged")

// pickyStick fails for damaged parcels, once for flaky ones.
func pickyStick(m channel.Message[parcel]) (sticker, error) {
	switch {
	case m.Body.Kind == "damaged":
		return sticker{}, channel.Permanent(errBadParcel)
	case m.Body.Kind == "flaky" && m.Attempt() == 1:
		return sticker{}, errFlaky
	}
	return stick(m.Body)
}

// outcome is what can be seen of a step from outside, wherever it stands.
func outcome(w *wire, topics ...string) (seen []string) {
	for _, topic := range topics {
		for _, s := range w.on(topic) {
			seen = append(seen, fmt.Sprintf("%s %s %s tenant=%s %s %s",
				topic, s.Key, s.Payload, s.Headers["tenant"], s.Headers[flow.DeadError], s.Headers[flow.DeadClass]))
		}
	}
	slices.Sort(seen)
	return seen
}

// Breaks if one of the drivers does less than the others, or a direct hop hands over something else
// than a broker would: other headers, another key, a body that is shared.
func TestLaw5ABlockBehavesTheSameEverywhere(t *testing.T) {
	half := func(p parcel) []sticker { return []sticker{{p.ID, p.N / 2}, {p.ID, p.N - p.N/2}} }
	for name, b := range map[string]channel.Processor[parcel]{
		"router":     router.Content(router.When("small", small, sorted)),
		"filter":     router.MessageFilter[parcel]{Keep: func(m channel.Message[parcel]) bool { return small(m.Body) }, To: sorted},
		"splitter":   router.Split(half, stickers),
		"translator": translator.MapMessage(pickyStick, stickers),
		"activator": endpoint.Call(func(_ context.Context, p parcel) (sticker, error) {
			return stick(p)
		}, stickers),
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			for _, where := range []string{"flow", "router", "direct", "wrapped"} {
				synctest.Test(t, func(t *testing.T) {
					got := lookAt(t, where, b)
					if want == nil {
						want = got
					}
					if len(got) == 0 || !slices.Equal(got, want) {
						t.Errorf("in a %s\n got %v\nwant %v", where, got, want)
					}
				})
			}
		})
	}
}

func lookAt(t *testing.T, where string, b channel.Processor[parcel]) []string {
	t.Helper()
	broker := &memory.Broker{}
	defer broker.Close()
	w := &wire{to: broker.Publisher()}
	policy := quick()
	switch where {
	case "router":
		r := message.NewDefaultRouter(nil)
		h := must(flow.Handler("s", b, batchWire{w}, policy, flow.Logger(silent())))(t)
		r.AddConsumerHandler("s", "arrivals", broker.Subscriber("s"), h)
		go r.Run(context.Background())
		<-r.Running()
		defer r.Close()
	default:
		parts := []flow.Part{policy, flow.Step("s", arrivals, b)}
		switch where {
		case "wrapped":
			parts[1] = flow.Step("s", arrivals, channel.Processor[parcel](wrapped[parcel]{b}))
		case "direct":
			hop := channel.Topic[parcel]("hop")
			roundTrip := func(p parcel) (back parcel, err error) { // what the test kit does to bodies
				bytes, err := json.Marshal(p)
				if err == nil {
					err = json.Unmarshal(bytes, &back)
				}
				return back, err
			}
			parts = []flow.Part{policy, flow.Step("hop", arrivals, translator.Map(roundTrip, hop)), flow.Step("s", hop, b), flow.Direct(hop)}
		}
		h := must(mustNew(t, "f", parts...).Start(t.Context(), batchWire{w}, broker.Subscriber("f")))(t)
		defer balanced(t, h)
		defer h.Stop()
	}
	in := broker.Publisher()
	for i, kind := range []string{"small", "large", "damaged", "flaky", "small"} {
		m := message.NewMessage(fmt.Sprint("p", i), must(json.Marshal(parcel{fmt.Sprint("p", i), kind, i}))(t))
		m.Metadata = message.Metadata{channel.HeaderKey: fmt.Sprint("k", i), "tenant": "blue"}
		if err := in.Publish("arrivals", m); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Publish("arrivals", message.NewMessage("none", []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	return outcome(w, "sorted", "stickers", "dead")
}

// wrapped is a block with another around it that adds nothing.
type wrapped[T any] struct{ channel.Processor[T] }

// parcelsOf aggregates parcels of one kind.
func parcelsOf(size int, store aggregator.Store) *aggregator.Aggregator[parcel, []string] {
	return &aggregator.Aggregator[parcel, []string]{
		Correlate: func(p parcel) string { return p.Kind },
		Combine: func(_ string, ps []parcel) (ids []string, err error) {
			for _, p := range ps {
				if p.ID == "cursed" {
					return nil, errBadParcel
				}
				ids = append(ids, p.ID)
			}
			return ids, nil
		},
		To: "pallets", Size: size, Timeout: time.Minute, Store: store,
	}
}

// Breaks if the engine finds anything by type assertion on the block: a clock, Failed, an effect.
func TestLaw12WrappingABlockChangesNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var want *rig
		for _, b := range []channel.Processor[parcel]{
			parcelsOf(3, &aggregator.Memory{}), wrapped[parcel]{wrapped[parcel]{parcelsOf(3, &aggregator.Memory{})}},
		} {
			r := newRig(t, how, quick(), flow.Step("pack", arrivals, b))
			for i := range 10 {
				r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i), Kind: "red"})
			}
			r.give("arrivals", "", parcel{ID: "cursed", Kind: "blue"}) // fails when its time has come
			r.wait(time.Hour)
			r.stop()
			if want == nil {
				want = r
				continue
			}
			if got, want := r.flow.Edges(), want.flow.Edges(); !reflect.DeepEqual(got, want) {
				t.Errorf("edges\n got %v\nwant %v", got, want)
			}
			if got, want := r.count("pack").String(), want.count("pack").String(); got != want {
				t.Errorf("accounts\n got %v\nwant %v", got, want)
			}
			if got, want := outcome(r.wire, "pallets", "dead"), outcome(want.wire, "pallets", "dead"); len(got) != 5 || !slices.Equal(got, want) {
				t.Errorf("came out\n got %v\nwant %v", got, want)
			}
		}
	}, claims, oneByOne, routed)
}

// Breaks if two members of one group process one message both, or a store's claims do not exclude.
func TestLaw6OneInstanceAndTwoInMemory(t *testing.T) {
	for _, instances := range []int{1, 2} {
		t.Run(strconv.Itoa(instances), func(t *testing.T) {
			everyWay(t, func(t *testing.T, how string) { law6(t, how, instances) }, claims, oneByOne, routed)
		})
	}
}

func law6(t *testing.T, how string, instances int) {
	const n, size = 200, 5
	groups, seen := &aggregator.Memory{}, &idempotency.Memory{}
	broker := &memory.Broker{Window: 8} // with work that takes time no member gets it all
	slowly := func(p parcel) bool {
		time.Sleep(time.Millisecond)
		return small(p)
	}
	t.Cleanup(func() { broker.Close() })
	var all []*rig
	for range instances {
		r := &rig{T: t, How: how, Broker: broker}
		all = append(all, r.run(mustNew(t, "f", quick(), flow.Direct(sorted),
			flow.Step("route", arrivals, router.Content(router.When("small", slowly, sorted), router.Otherwise(rejected)),
				flow.Around(idempotency.Receiver{Store: seen})),
			flow.Step("stick", sorted, translator.Map(stick, stickers)),
			flow.Step("pack", rejected, parcelsOf(size, groups)))))
	}
	for i := range n {
		kind := "small"
		if i%2 == 1 {
			kind = fmt.Sprint("kind ", i%20)
		}
		for range 2 { // each twice
			all[0].give("arrivals", fmt.Sprint(i%13), parcel{ID: fmt.Sprint("p", i), Kind: kind})
		}
	}
	all[0].wait(time.Hour)
	stuck, packed := map[string]int{}, map[string]int{}
	duplicates := int64(0)
	for _, r := range all {
		for _, s := range r.on("stickers") {
			stuck[s.Payload]++
		}
		for _, s := range r.on("pallets") {
			var ids []string
			if err := json.Unmarshal([]byte(s.Payload), &ids); err != nil || len(ids) != size {
				t.Errorf("a pallet of %d: %s %v", len(ids), s.Payload, err)
			}
			for _, id := range ids {
				packed[id]++
			}
		}
		duplicates += r.count("route").Dropped[idempotency.Duplicate]
		if instances > 1 && r.count("route").Received == 0 {
			t.Error("one of two instances got nothing")
		}
	}
	if len(stuck) != n/2 || len(packed) != n/2 || duplicates != n {
		t.Errorf("%d stickers, %d packed, %d duplicates", len(stuck), len(packed), duplicates)
	}
	for what, times := range map[string]map[string]int{"sticker": stuck, "packed parcel": packed} {
		for id, k := range times {
			if k != 1 {
				t.Errorf("%s %s came out %d times", what, id, k)
			}
		}
	}
}

// Breaks if a scope lacks the flow's name: the second flow would find its messages done, its groups
// half full, and its messages in the hands of the other.
func TestLaw13TwoFlowsDoNotSeeEachOther(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		groups, seen := &aggregator.Memory{}, &idempotency.Memory{}
		broker := &memory.Broker{}
		t.Cleanup(func() { broker.Close() })
		var all []*rig
		for _, name := range []string{"north", "south"} {
			r := &rig{T: t, How: how, Broker: broker}
			all = append(all, r.run(mustNew(t, name, quick(),
				flow.Step("pack", arrivals, parcelsOf(3, groups), flow.Around(idempotency.Receiver{Store: seen})))))
		}
		for i := range 7 { // once each: both flows read them
			all[0].give("arrivals", "", parcel{ID: fmt.Sprint("p", i), Kind: "red"})
		}
		all[0].wait(time.Hour)
		ids := map[string]bool{}
		for _, r := range all {
			got := r.on("pallets")
			if len(got) != 3 {
				t.Fatalf("flow %s made %d pallets, want 3: %v", r.flow.Name(), len(got), r.h.Counts())
			}
			members := 0
			for _, s := range got {
				members += strings.Count(s.Payload, "p")
				ids[s.ID] = true
			}
			if members != 7 {
				t.Errorf("flow %s packed %d parcels, want 7", r.flow.Name(), members)
			}
			r.is("pack", "received=7 sent=2 held=5 released=5 fired=1")
		}
		if len(ids) != 6 {
			t.Errorf("the two flows' pallets share ids: %v", ids)
		}
	}, claims, oneByOne, routed)
}

// Breaks if a program's domain needs one of our packages: predicates, mappers, combiners are plain Go.
func TestLaw7UserDomainCodeImportsNoneOfOurs(t *testing.T) {
	files := must(filepath.Glob("../examples/*/domain/*.go"))(t)
	looked := 0
	for _, file := range files {
		parsed := must(parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly))(t)
		looked++
		for _, i := range parsed.Imports {
			path := must(strconv.Unquote(i.Path.Value))(t)
			if strings.HasPrefix(path, "github.com/leat-go/leat") && !strings.Contains(path, "/examples/") {
				t.Errorf("%s imports %s", file, path)
			}
		}
	}
	if looked == 0 {
		t.Fatal("there is no examples/*/domain to look at")
	}
}
