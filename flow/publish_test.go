package flow_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
	"github.com/leat-go/leat/translator"
)

// A broker's outage is nobody's fault: however long it takes, no healthy message dies of it.
func TestAnOutageSendsNothingToTheDeadLetter(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var down atomic.Bool
		down.Store(true)
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(string, string, int) error {
			if down.Load() {
				return errWire
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, translator.Map(stick, stickers))))
		for i := range 20 {
			r.give("arrivals", fmt.Sprint(i%10), parcel{ID: fmt.Sprint("p", i)})
		}
		r.wait(10 * time.Minute)
		if n := len(r.on("stickers")); n != 0 {
			t.Fatalf("%d got through a cut wire", n)
		}
		down.Store(false)
		r.wait(3 * time.Second) // GoChannel hands out one at a time
		if n := len(r.on("stickers")); n != 20 {
			t.Errorf("%d of 20 came out 3 s after the broker was back", n)
		}
		r.is("a", "received=20 sent=20")
	})
}

// A publisher whose error is permanent, for one of several, has the message die once; what it said of
// the others stands.
func TestAPermanentPublishErrorIsTheMessages(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(topic, _ string, _ int) error {
			if topic == "rejected" {
				return fmt.Errorf("broker: %w", channel.ErrTooLarge)
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Forward(sorted, m), channel.Forward(rejected, m)), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted), channel.Out("", rejected)}}})))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		letters := r.on("dead")
		if len(letters) != 1 || letters[0].Headers[flow.DeadClass] != "permanent" || letters[0].Headers[flow.DeadStep] != "a" {
			t.Errorf("dead letters %v", letters)
		}
		if n := len(r.on("sorted")); n != 1 {
			t.Errorf("the other went out %d times", n)
		}
		r.is("a", "received=1 dead=1")
	})
}

// What may be lost is lost, counted, and holds up nobody; what must not is not. An outlet says so too,
// or the drawing would lie.
func TestBestEffort(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(topic, _ string, _ int) error {
			if topic == "tap" {
				return errWire
			}
			return nil
		}
		tap := channel.Topic[parcel]("tap")
		out := channel.Out("tap", tap)
		out.BestEffort = true
		send := func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Send(channel.Forward(sorted, m), channel.Forward(tap, m).BestEffort()), nil
		}
		r.run(mustNew(t, "f", quick(),
			flow.Step("a", arrivals, block[parcel]{send, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted), out}}}),
			flow.Step("b", channel.Topic[parcel]("b"), block[parcel]{send, channel.Shape{
				Outlets: []channel.Outlet{channel.Out("", sorted), channel.Out("tap", tap)},
			}})))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.give("b", "", parcel{ID: "p2"})
		r.wait(time.Minute)
		if n := len(r.on("sorted")); n != 1 {
			t.Errorf("%d came out, want the one of step a", n)
		}
		if c := r.count("a"); c.Sent != 1 || c.BestEffort != 1 {
			t.Errorf("a: %v, %d lost", c, c.BestEffort)
		}
		if l := r.on("dead"); len(l) != 1 || l[0].ID != "p2" || !strings.Contains(l[0].Headers[flow.DeadError], "undeclared") {
			t.Errorf("a best-effort delivery over an outlet that is none: %v", l)
		}
	})
}

// A tap whose topic is full does not hold up what it taps.
func TestBestEffortDoesNotWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := channel.Topic[parcel]("tap")
		out := channel.Out("tap", tap)
		out.BestEffort = true
		r := &rig{T: t, How: claims, Broker: &memory.Broker{Bound: 10}}
		defer r.Broker.Close()
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			return channel.Done().And(channel.Forward(tap, m).BestEffort()), nil
		}, channel.Shape{Outlets: []channel.Outlet{out}}})))
		for i := range 100 {
			r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i)})
		}
		r.wait(time.Hour)
		if c := r.count("a"); c.Done != 100 || c.BestEffort != 90 {
			t.Errorf("%v, %d lost of 90 that there was no room for", c, c.BestEffort)
		}
	})
}

func TestUndeclaredDestinations(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		b := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			switch m.Body.Kind {
			case "type": // the topic is declared, with another type
				return channel.Send(channel.To(channel.Topic[sticker]("re.a"), sticker{})), nil
			case "header":
				return channel.Send(channel.Header[chan int]("c").Put(channel.Forward(sorted, m), nil)), nil
			}
			return channel.Send(channel.Forward(channel.Topic[parcel](m.Get("to")), m)), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", sorted), channel.Out("reply", channel.Topic[parcel]("re.*"))}}}
		r := newRig(t, how, quick(), flow.Step("a", arrivals, b))
		r.give("arrivals", "", parcel{ID: "p1"}, "to", "sorted")
		r.give("arrivals", "", parcel{ID: "p2"}, "to", "re.any.where")
		r.give("arrivals", "", parcel{ID: "p3"}, "to", "admin")
		r.give("arrivals", "", parcel{ID: "p4"}, "to", "re")
		r.give("arrivals", "", parcel{ID: "p5", Kind: "type"})
		r.give("arrivals", "", parcel{ID: "p6", Kind: "header"})
		r.wait(time.Minute)
		if len(r.on("sorted")) != 1 || len(r.on("re.any.where")) != 1 {
			t.Errorf("what is declared did not get through: %v", r.count("a"))
		}
		for _, l := range r.on("dead") {
			want := `undeclared destination`
			if l.ID == "p6" {
				want = "writing header c"
			}
			if !strings.Contains(l.Headers[flow.DeadError], want) || l.Headers[flow.DeadAttempts] != "1" {
				t.Errorf("%s: %v", l.ID, l.Headers)
			}
		}
		r.is("a", "received=6 sent=2 dead=4")
	})
}

// F36: what goes in circles leaves them at MaxHops, with the reason.
func TestCirclesEndAtMaxHops(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.MaxHops(10), flow.Direct(sorted),
			flow.Step("a", arrivals, router.Filter(func(parcel) bool { return true }, sorted)),
			flow.Step("b", sorted, router.Filter(func(parcel) bool { return true }, arrivals)))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		letters := r.on("dead")
		if len(letters) != 1 || !strings.Contains(letters[0].Headers[flow.DeadError], "goes in circles") {
			t.Fatalf("dead letters: %v", letters)
		}
		if got := letters[0].Headers[channel.HeaderHops]; got != "10" || len(r.on("arrivals")) != 5 {
			t.Errorf("it died after %s hops, %d times round", got, len(r.on("arrivals")))
		}
		if c := letters[0].Headers[channel.HeaderConversation]; c != "p1" {
			t.Errorf("its conversation is %q", c)
		}
		r.is("a", "received=6 sent=5 dead=1")
	})
}

func TestStreamsAreRefusedByName(t *testing.T) {
	var none iter.Seq2[channel.Delivery, error] = func(func(channel.Delivery, error) bool) {}
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Step("a", arrivals, block[parcel]{func(channel.Message[parcel]) (channel.Result, error) {
			return channel.Stream(none), nil
		}, channel.Shape{}}))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		l := r.on("dead")
		if len(l) != 1 || !strings.Contains(l[0].Headers[flow.DeadError], "a stream from step a: not carried") {
			t.Errorf("dead letters: %v", l)
		}
	})
}

// A message without a payload reaches the blocks that take it, is forwarded, or is refused by name.
func TestTombstones(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		taken := ""
		takes := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			taken += fmt.Sprint(m.Deleted(), m.Key(), m.Body)
			return channel.Send(channel.Delete(stickers, m.Key())), nil
		}, channel.Shape{Tombstones: true, Outlets: []channel.Outlet{channel.Out("", stickers)}}}
		by := channel.Topic[[]byte]("bytes")
		r := newRig(t, how, quick(), flow.Direct(sorted),
			flow.Step("a", arrivals, takes), flow.Step("b", rejected, router.Filter(small, sorted)), flow.Step("c", sorted, takes),
			flow.Step("d", by, router.Content(router.Otherwise(channel.Topic[[]byte]("kept")))))
		for _, topic := range []string{"arrivals", "rejected", "bytes"} {
			r.giveRaw(topic, topic, "k", nil)
		}
		r.wait(time.Minute)
		if taken != "truek{  0}" {
			t.Errorf("taken: %s", taken)
		}
		for _, topic := range []string{"stickers", "kept"} {
			if got := r.on(topic); len(got) != 1 || got[0].Payload != "" || got[0].Key != "k" {
				t.Errorf("on %s: %v", topic, got)
			}
		}
		l := r.on("dead")
		if len(l) != 1 || l[0].ID != "rejected" || !strings.Contains(l[0].Headers[flow.DeadError], "topic rejected: message has no payload") {
			t.Errorf("dead letters: %v", l)
		}
	}, claims, oneByOne, routed)
}

// A step that fills its own topic would wait for itself: the publish fails instead, says why, and the
// message is in the dead letter. Nothing is lost.
func TestAFullOwnTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, How: claims, Broker: &memory.Broker{Bound: 8}}
		got := map[string]int{}
		again := block[parcel]{func(m channel.Message[parcel]) (channel.Result, error) {
			got[m.Body.ID]++
			if m.Body.N == 0 {
				return channel.Done(), nil
			}
			var ds []channel.Delivery
			for i := range 5 {
				ds = append(ds, channel.To(arrivals, parcel{ID: fmt.Sprint(m.Body.ID, ".", i), N: m.Body.N - 1}))
			}
			return channel.Send(ds[0], ds[1:]...), nil
		}, channel.Shape{Outlets: []channel.Outlet{channel.Out("", arrivals)}}}
		r.run(mustNew(t, "f", quick(), flow.Workers(1), flow.Step("a", arrivals, again)))
		dead := r.Broker.Subscriber("undertaker")
		letters := 0
		ch := must(dead.Subscribe(t.Context(), "dead"))(t)
		go func() {
			for m := range ch {
				if s := m.Metadata[flow.DeadError]; !strings.Contains(s, "topic is full") || !strings.Contains(s, "arrivals") {
					t.Errorf("letter says %q", s)
				}
				letters++
				m.Ack()
			}
		}()
		for i := range 20 {
			r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i), N: 2})
		}
		r.wait(time.Hour)
		c := r.count("a")
		if letters == 0 || int64(letters) != c.Dead {
			t.Errorf("%d letters, %v", letters, c)
		}
		if n := int64(len(got)); n != c.Received || c.InFlight != 0 { // each that got onto the topic was seen
			t.Errorf("saw %d different parcels, %v", n, c)
		}
		r.stop()
		r.Broker.Close()
	})
}

// A topic that is full because somebody else is slow is waited for; Close frees who waits.
func TestAFullTopicOfOthersIsWaitedFor(t *testing.T) {
	for _, how := range []string{claims, oneByOne, routed} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{T: t, How: how, Broker: &memory.Broker{Bound: 4, DrainTimeout: time.Second}}
				r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, translator.Map(stick, stickers))))
				for i := range 6 {
					r.give("arrivals", "", parcel{ID: fmt.Sprint("p", i)})
				}
				r.wait(time.Hour)
				if n := len(r.on("stickers")); n != 4 || len(r.on("dead")) != 0 {
					t.Errorf("%d are on the full topic, %d dead", n, len(r.on("dead")))
				}
				if how == routed {
					go r.Broker.Close()
					r.wait(time.Minute)
				} else {
					r.Broker.Close()
				}
				r.stop()
				if c := r.count("a"); c.Sent != 4 || c.Dead != 0 {
					t.Errorf("after Close: %v", c)
				}
			})
		})
	}
}

// F20: of a batch that is published part way only the rest is sent again, whatever the publisher's
// error is.
func TestABatchThatFailsPartWay(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(topic, id string, try int) error {
			if topic == "stickers" && id[len(id)-1] < '8' && try < 3 {
				return errors.Join(errWire, adapters.ErrFull)
			}
			return nil
		}
		r.run(mustNew(t, "f", quick(), flow.Step("a", arrivals, router.Split(func(p parcel) []sticker {
			return make([]sticker, p.N)
		}, stickers))))
		r.give("arrivals", "", parcel{ID: "p1", N: 50})
		r.wait(time.Minute)
		ids := map[string]int{}
		for _, s := range r.on("stickers") {
			ids[s.ID]++
		}
		tried := map[int]int{}
		for _, n := range r.tries {
			tried[n]++
		}
		if len(ids) != 50 || len(r.on("stickers")) != 50 || tried[1]+tried[3] != 50 || tried[3] == 0 || tried[1] == 0 {
			t.Errorf("%d ids, %d sent, tries %v", len(ids), len(r.on("stickers")), tried)
		}
	})
}

// A flow without a publisher is refused if anything may leave it, a dead letter too.
func TestNoPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do := endpoint.Do(func(context.Context, parcel) error { return nil })
		for want, parts := range map[string][]flow.Part{
			"step a has the dead letter dead: there is no publisher": {flow.Step("a", arrivals, do), flow.Policy{DeadLetter: "dead"}},
			"step a sends to topic stickers: there is no publisher":  {flow.Step("a", arrivals, translator.Map(stick, stickers)), flow.Policy{Redeliver: true}},
		} {
			f := mustNew(t, "f", append(parts, flow.Direct(arrivals))...)
			if _, err := f.Start(t.Context(), nil, nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Start gives %v, want %q", err, want)
			}
		}
		h := must(mustNew(t, "f", flow.Step("a", arrivals, do), flow.Direct(arrivals), flow.Policy{Redeliver: true}).Start(t.Context(), nil, nil))(t)
		if err := must(flow.Into(h, arrivals))(t)(t.Context(), "p1", parcel{ID: "p1"}); err != nil {
			t.Errorf("what stays inside: %v", err)
		}
		h.Stop()
		balanced(t, h)
	})
}

// TestFailedPublishIsNotOvertaken: of what one message sends under one key, nothing goes out before what
// failed; other keys do.
func TestFailedPublishIsNotOvertaken(t *testing.T) {
	var got []string
	failing := 3
	pub := publisherFunc(func(_ string, ms ...*message.Message) error {
		id := string(ms[0].Payload)
		if id == `"a1"` && failing > 0 {
			failing--
			return errors.New("broker is down")
		}
		got = append(got, id)
		return nil
	})
	const in, out channel.Topic[string] = "in", "out"
	f, err := flow.New("f",
		flow.Step("split", in, router.Splitter[string, string]{
			Parts: func(channel.Message[string]) ([]string, error) { return []string{"a1", "b1", "a2", "b2"}, nil },
			To:    out, EachKey: func(part string) string { return part[:1] },
		}), flow.Direct(in), flow.Policy{DeadLetter: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h, err := f.Start(t.Context(), pub, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Stop()
		feed, err := flow.Into(h, in)
		if err != nil {
			t.Fatal(err)
		}
		if err := feed(t.Context(), "1", "x"); err != nil {
			t.Fatal(err)
		}
	})
	if want := `["b1" "b2" "a1" "a2"]`; fmt.Sprint(got) != want {
		t.Errorf("went out: %v, want %s", got, want)
	}
}

type publisherFunc func(topic string, ms ...*message.Message) error

func (f publisherFunc) Publish(topic string, ms ...*message.Message) error { return f(topic, ms...) }
func (publisherFunc) Close() error                                         { return nil }
