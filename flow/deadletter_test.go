package flow_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/router"
)

func TestADeadLetterIsACopyThatSaysWhatHappened(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		began := time.Now().UTC()
		hop := channel.Topic[parcel]("hop")
		f := mustNew(t, "f", quick(), flow.Prefix("staging."), flow.Direct(hop),
			flow.Step("a", arrivals, router.Filter(func(parcel) bool { return true }, hop)),
			flow.Step("b", hop, endpoint.Do(func(context.Context, parcel) error { return fmt.Errorf("two\nlines: %w", errFlaky) })))
		r := (&rig{T: t, How: how}).run(f)
		const odd = `{"ID" : "p1" }`
		r.giveRaw("staging.arrivals", "p1", "k", []byte(odd), "tenant", "blue", channel.HeaderContentType, "application/json")
		r.wait(time.Minute)
		letters := r.on("staging.dead")
		if len(letters) != 1 {
			t.Fatalf("%d dead letters: %v", len(letters), r.h.Counts())
		}
		l := letters[0]
		if l.Payload != odd || l.ID != "p1" || l.Key != "k" {
			t.Errorf("it is not a copy: %v", l)
		}
		if how == claims {
			if got := l.Headers[flow.DeadOrigin]; got != "staging.arrivals/0" {
				t.Errorf("origin %q", got)
			}
		}
		delete(l.Headers, flow.DeadOrigin)
		want := map[string]string{
			"tenant": "blue", channel.HeaderContentType: "application/json",
			flow.DeadFlow: "f", flow.DeadStep: "b", flow.DeadScope: "f/a", flow.DeadError: "two lines: flaky",
			flow.DeadClass: "transient", flow.DeadAttempts: "3", flow.DeadTopic: "staging.arrivals",
			flow.DeadFirst: began.Format(time.RFC3339Nano), flow.DeadLast: began.Add(2 * time.Second).Format(time.RFC3339Nano),
		}
		for k, v := range want {
			if l.Headers[k] != v {
				t.Errorf("header %s is %q, want %q", k, l.Headers[k], v)
			}
			delete(l.Headers, k)
		}
		if len(l.Headers) != 0 {
			t.Errorf("more headers: %v", l.Headers)
		}
	})
}

func TestTheClassOfADeadLetter(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Step("a", arrivals, endpoint.DoMessage(func(m channel.Message[parcel]) error {
			switch m.Body.Kind {
			case "permanent":
				return channel.Permanent(errFlaky)
			case "panic":
				panic("no")
			case "expired":
				<-m.Context().Done()
				return m.Context().Err()
			}
			return errFlaky
		}), flow.Workers(1)))
		for _, class := range []string{"permanent", "panic", "transient"} {
			r.give("arrivals", "", parcel{ID: class, Kind: class})
		}
		r.give("arrivals", "", parcel{ID: "expired", Kind: "expired"}, channel.HeaderExpires, time.Now().Add(time.Second).Format(time.RFC3339Nano))
		r.giveRaw("arrivals", "no JSON", "", []byte("{"))
		r.wait(time.Minute)
		got := map[string]string{}
		for _, l := range r.on("dead") {
			got[l.ID] = l.Headers[flow.DeadClass]
		}
		if len(got) != 5 || got["no JSON"] != "permanent" {
			t.Errorf("classes %v", got)
		}
		for id, class := range got {
			if id != class && id != "no JSON" {
				t.Errorf("%s is %s", id, class)
			}
		}
	})
}

// What is beyond the limits is buried as a notice: its size, its sum, its beginning.
func TestANoticeStandsForWhatIsTooLarge(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, quick(), flow.Limits(channel.Limits{Body: 10_000}), flow.Step("a", arrivals, done[parcel]()))
		large := []byte(strings.Repeat("x", 20_000))
		r.giveRaw("arrivals", "p1", "k", large, "tenant", "blue")
		r.wait(time.Minute)
		letters := r.on("dead")
		if len(letters) != 1 {
			t.Fatalf("%d dead letters: %v", len(letters), r.h.Counts())
		}
		sum := sha256.Sum256(large)
		l := letters[0]
		if l.Payload != string(large[:4096]) || l.Headers[flow.DeadSize] != "20000" || l.Headers[flow.DeadSHA256] != hex.EncodeToString(sum[:]) {
			t.Errorf("notice: %d bytes, %v", len(l.Payload), l.Headers)
		}
		if l.ID != "p1" || l.Key != "k" || l.Headers[flow.DeadTopic] != "arrivals" || l.Headers[flow.DeadError] == "" {
			t.Errorf("notice: %v", l)
		}
		_, _, err := flow.PutBack(letterOf(l))
		if !errors.Is(err, flow.ErrNotDead) || !strings.Contains(err.Error(), "20000") {
			t.Errorf("putting a notice back: %v", err)
		}
	})
}

// letterOf is a dead letter as its reader has it.
func letterOf(s sent) *message.Message {
	m := message.NewMessage(s.ID, []byte(s.Payload))
	maps.Copy(m.Metadata, s.Headers)
	if s.Key != "" {
		m.Metadata[channel.HeaderKey] = s.Key
	}
	return m
}

func TestPutBackRefusesWhatIsNoDeadLetter(t *testing.T) {
	_, _, err := flow.PutBack(message.NewMessage("p1", nil))
	if !errors.Is(err, flow.ErrNotDead) || !strings.Contains(err.Error(), "p1") {
		t.Errorf("got %v", err)
	}
	m := message.NewMessage("p2", nil)
	m.Metadata[flow.DeadTopic] = "orders"
	_, _, err = flow.PutBack(m) // a plain subscription's
	if !errors.Is(err, flow.ErrNotDead) || !strings.Contains(err.Error(), flow.DeadScope) || !strings.Contains(err.Error(), `"orders"`) {
		t.Errorf("a letter of no flow: %v", err)
	}
}

// A dead letter that is put back is for its step alone, in every group and flow that reads the topic.
func TestPutBackIsForItsStepAlone(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var mended atomic.Bool
		var a, b, c atomic.Int32
		seen := &idempotency.Memory{}
		count := func(n *atomic.Int32, fails bool) channel.Processor[parcel] {
			return endpoint.Do(func(context.Context, parcel) error {
				if fails && !mended.Load() {
					return channel.Permanent(errFlaky)
				}
				n.Add(1)
				return nil
			})
		}
		receiver := flow.Around(idempotency.Receiver{Store: seen})
		broker := &memory.Broker{}
		t.Cleanup(func() { broker.Close() })
		r := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "f", quick(), receiver,
			flow.Step("a", arrivals, count(&a, false)), flow.Step("b", arrivals, count(&b, true))))
		other := (&rig{T: t, How: how, Broker: broker}).run(mustNew(t, "g", quick(), flow.Step("a", arrivals, count(&c, false))))
		r.give("arrivals", "k", parcel{ID: "p1"}, "tenant", "blue")
		r.wait(time.Minute)
		letters := r.on("dead")
		if len(letters) != 1 {
			t.Fatalf("%d dead letters", len(letters))
		}
		mended.Store(true)
		topic, m := putBack(t, letters[0])
		if topic != "arrivals" || m.UUID != "p1" || m.Metadata["tenant"] != "blue" || m.Metadata[channel.HeaderKey] != "k" {
			t.Errorf("put back %v on %s", m, topic)
		}
		for k := range m.Metadata {
			if strings.HasPrefix(k, "leat-dead-") {
				t.Errorf("put back with %s", k)
			}
		}
		if err := r.pub.Publish(topic, m); err != nil {
			t.Fatal(err)
		}
		r.wait(time.Minute)
		if a, b, c := a.Load(), b.Load(), c.Load(); a != 1 || b != 1 || c != 1 {
			t.Errorf("a saw it %d times, b %d, another flow %d, want 1 each", a, b, c)
		}
		r.is("a", "received=2 done=1 dropped(put back for another step)=1")
		r.is("b", "received=2 done=1 dead=1")
		other.is("a", "received=2 done=1 dropped(put back for another step)=1")
	}, claims, oneByOne, routed)
}

func putBack(t *testing.T, s sent) (string, *message.Message) {
	t.Helper()
	topic, m, err := flow.PutBack(letterOf(s))
	if err != nil {
		t.Fatal(err)
	}
	return topic, m
}

// What a message that was put back causes is for everybody again, and it may die and be put back again.
func TestPutBackAgainAndAgain(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		n, got := 0, 0
		r := newRig(t, how, quick(),
			flow.Step("a", arrivals, router.Filter(func(parcel) bool {
				if n++; n < 4 {
					panic("not yet")
				}
				return true
			}, sorted), flow.Policy{Attempts: 1, DeadLetter: dead}),
			flow.Step("b", sorted, endpoint.Do(func(context.Context, parcel) error { got++; return nil })))
		r.give("arrivals", "", parcel{ID: "p1"})
		for i := range 3 {
			r.wait(time.Minute)
			letters := r.on("dead")
			if len(letters) != i+1 {
				t.Fatalf("%d dead letters after %d deaths", len(letters), i+1)
			}
			topic, m := putBack(t, letters[i])
			if err := r.pub.Publish(topic, m); err != nil {
				t.Fatal(err)
			}
		}
		r.wait(time.Minute)
		if got != 1 {
			t.Errorf("the next step saw it %d times", got)
		}
	})
}

// F27: with the dead letter's topic down nothing is acknowledged and nothing is lost; others go on.
func TestTheDeadLetterChannelIsDown(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		var down atomic.Bool
		down.Store(true)
		r := &rig{T: t, How: how, wire: &wire{}}
		r.fail = func(topic, _ string, _ int) error {
			if topic == "dead" && down.Load() {
				return errWire
			}
			return nil
		}
		var calls atomic.Int32
		r.run(mustNew(t, "f", flow.Policy{Attempts: 1, DeadLetter: dead}, flow.Workers(1),
			flow.Step("a", arrivals, endpoint.Do(func(_ context.Context, p parcel) error {
				calls.Add(1)
				if p.Kind == "bad" {
					return errFlaky
				}
				return nil
			}))))
		r.give("arrivals", "bad", parcel{ID: "p1", Kind: "bad"})
		r.give("arrivals", "bad", parcel{ID: "p2", Kind: "bad"})
		r.give("arrivals", "good", parcel{ID: "p3"})
		r.wait(time.Hour)
		if n := len(r.on("dead")); n != 0 {
			t.Fatalf("%d letters got through", n)
		}
		if c := r.count("a"); c.Dead != 0 || c.InFlight == 0 || (how == claims || how == oneByOne) && c.Done != 1 {
			t.Errorf("while it is down: %v", c)
		}
		down.Store(false)
		r.wait(3 * time.Second)
		if n := len(r.on("dead")); n != 2 {
			t.Errorf("%d of 2 letters 3 s after it is up again", n)
		}
		r.is("a", "received=3 done=1 dead=2")
		if n := calls.Load(); n != 3 {
			t.Errorf("the block was called %d times, want once a message", n)
		}
	})
}

// A group dies as a whole: every member with the bytes and headers it came with, its own step to be
// put back to, and no letter made of a timer.
func TestAGroupDiesAsAWhole(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		store := &aggregator.Memory{}
		r := newRig(t, how, quick(), flow.Step("pack", arrivals, parcelsOf(3, store)))
		for i, id := range []string{"p1", "cursed", "p3", "q1", "cursed"} { // the last two at the timeout
			r.giveRaw("arrivals", fmt.Sprint("m", i), "", fmt.Appendf(nil, `{ "ID":%q, "Kind":"%c" }`, id, "AAABB"[i]), "n", fmt.Sprint(i))
		}
		r.wait(time.Hour)
		letters := r.on("dead")
		var ids []string
		for _, l := range letters {
			ids = append(ids, l.ID)
			if l.Headers[flow.DeadTopic] != "arrivals" || l.Headers[flow.DeadScope] != "f/pack" || l.Headers["n"] != l.ID[1:] {
				t.Errorf("letter %v", l)
			}
			if !strings.HasPrefix(l.Payload, `{ "ID"`) {
				t.Errorf("letter has other bytes: %s", l.Payload)
			}
			if !strings.Contains(l.Headers[flow.DeadError], errBadParcel.Error()) {
				t.Errorf("letter says %q", l.Headers[flow.DeadError])
			}
		}
		slices.Sort(ids)
		if c := r.count("pack"); c.Held != c.Released {
			t.Errorf("held %d, released %d", c.Held, c.Released)
		}
		if want := r.count("pack").Received; int64(len(ids)) != want {
			t.Errorf("%d of %d are in the dead letter: %v, %v", len(ids), want, ids, r.count("pack"))
		}
	}, claims, oneByOne, routed)
}

// A block that says Drop when it is asked for its last word has the message end there: a group that
// another try has buried is not buried twice.
func TestFailedMaySayDrop(t *testing.T) {
	everyWay(t, func(t *testing.T, how string) {
		r := newRig(t, how, flow.Policy{Attempts: 1, DeadLetter: dead}, flow.Step("a", arrivals, block[parcel]{
			func(channel.Message[parcel]) (channel.Result, error) { return channel.Result{}, errFlaky },
			channel.Shape{Failed: func(*channel.Envelope, error) (channel.Result, error) { return channel.Drop("buried elsewhere"), nil }},
		}))
		r.give("arrivals", "", parcel{ID: "p1"})
		r.wait(time.Minute)
		r.is("a", "received=1 dropped(buried elsewhere)=1")
		if l := r.on("dead"); len(l) != 0 {
			t.Errorf("dead letters: %v", l)
		}
	})
}
