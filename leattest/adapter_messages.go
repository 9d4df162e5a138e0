package leattest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// What a plain Publisher promises: messages as they are, in order, or an error.
func adapterMessageCases() []adapterCase {
	return []adapterCase{
		{name: "messages", test: testAdapterMessages},
		{name: "key order", test: testAdapterKeyOrder},
		{name: "strict order", settings: AdapterSettings{Order: adapters.Ordered}, test: testAdapterStrictOrder},
		{name: "no order", settings: AdapterSettings{Order: adapters.Unordered}, test: testAdapterNoOrder},
		{name: "refused messages", test: testAdapterRefused},
		{name: "close", test: testAdapterClose},
	}
}

// The headers of a trace as W3C has them, and those of the suite.
const (
	adapterTraceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	adapterTracestate  = "vendor=t61rcWkgMzE,other=1"
	adapterBaggage     = "user=alice,tenant=7%2F9"
)

// Bytes, id, key and headers arrive as they were sent, the context of a trace among them, and nothing is
// added that is not ours.
func testAdapterMessages(x *adapterTest) {
	binary := make([]byte, 256)
	for i := range binary {
		binary[i] = byte(i)
	}
	sent := []*message.Message{
		note("plain", ""),
		note("keyed", "key/ü 1"),
		note("an id / with ü and space", ""),
		note("traced", "k", "traceparent", adapterTraceparent, "tracestate", adapterTracestate, "baggage", adapterBaggage),
		note("headers", "", "a-b_c.d", "value", "UPPER", "Value", "long", strings.Repeat("x", 4096), "empty", "", "ümlaut", "ö = =? ☃"),
		note("binary", ""), note("empty", ""), note("large", ""),
	}
	sent[5].Payload, sent[6].Payload, sent[7].Payload = binary, []byte{}, bytes.Repeat(binary, 2000)
	topic, pub := x.topic(1), x.publisher()
	before := message.Messages(sent)
	var copies []*message.Message
	for _, m := range before {
		copies = append(copies, m.Copy())
	}
	x.publish(pub, topic, sent[0])
	x.publish(pub, topic, sent[1:]...)
	m := x.join(topic, x.name("group"))
	for i, want := range copies {
		if !sent[i].Equals(want) {
			x.Errorf("publishing changed message %q", want.UUID)
		}
	}
	open := map[string]*message.Message{}
	for _, want := range copies {
		open[want.UUID] = want
	}
	for len(open) > 0 {
		got := m.next("message as it was sent")
		want := open[got.UUID]
		if want == nil {
			x.Fatalf("message %q arrives, which was not sent or has come already", got.UUID)
		}
		delete(open, got.UUID)
		x.equal(got, want)
		got.Ack()
	}
}

// equal compares a message with what was sent. An adapter may add headers of ours.
func (x *adapterTest) equal(got, want *message.Message) {
	x.Helper()
	if got.UUID != want.UUID || !bytes.Equal(got.Payload, want.Payload) {
		x.Errorf("message %q with %d bytes arrives; sent was %q with %d", got.UUID, len(got.Payload), want.UUID, len(want.Payload))
	}
	for name, value := range want.Metadata {
		if v, ok := got.Metadata[name]; !ok || v != value {
			x.Errorf("message %q: header %q is %.40q, present %t; sent was %.40q", want.UUID, name, v, ok, value)
		}
	}
	for name := range got.Metadata {
		if _, ok := want.Metadata[name]; !ok && !strings.HasPrefix(name, "leat-") {
			x.Errorf("message %q: header %q was not sent", want.UUID, name)
		}
	}
}

// What several goroutines publish, each its own keys, comes in order by key: one of a key at a time, of
// several keys at once.
func testAdapterKeyOrder(x *adapterTest) {
	const publishers, each = 4, 40
	topic, pub := x.topic(3), x.publisher()
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			a, b := fmt.Sprint("a", p), fmt.Sprint("b", p)
			for i := 0; i < each; i += 4 { // alone, and several at once
				ms := notes(4, fmt.Sprintf("%d-%d", p, i), a, b)
				if err := errors.Join(pub.Publish(topic, ms[0]), pub.Publish(topic, ms[1:]...)); err != nil {
					x.Errorf("publishing: %v", err)
				}
			}
		})
	}
	all.Wait()
	var want []string
	byKey := map[string][]string{}
	for p := range publishers {
		for i := 0; i < each; i += 4 {
			for j, id := range noteIDs(notes(4, fmt.Sprintf("%d-%d", p, i), "")) {
				key := fmt.Sprint([]string{"a", "b"}[j%2], p)
				byKey[key] = append(byKey[key], id)
				want = append(want, id)
			}
		}
	}
	m := x.join(topic, x.name("group"))
	var got []string
	held := map[string]*message.Message{}
	most := 0
	for len(got) < len(want) {
		msg := m.next("message in its key's order")
		key := keyOf(msg)
		switch {
		case held[key] != nil:
			x.Fatalf("%s is delivered while %s of its key %s is in flight", msg.UUID, held[key].UUID, key)
		case len(byKey[key]) == 0 || byKey[key][0] != msg.UUID:
			x.Fatalf("%s of key %s is delivered out of order, or again: %s were to come", msg.UUID, key, few(byKey[key]))
		}
		byKey[key] = byKey[key][1:]
		got, held[key] = append(got, msg.UUID), msg
		most = max(most, len(held))
		if len(held) > 1 || most > 1 || len(got) == len(want) { // the first of all waits for another key
			for key, msg := range held {
				delete(held, key)
				msg.Ack()
			}
		}
	}
	if most < 2 {
		x.Errorf("never were two keys in flight at once")
	}
}

// In Ordered mode one message of a partition is in flight, in the order of publishing.
func testAdapterStrictOrder(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	sent := notes(12, "m", keyNames(4)...)
	x.publish(pub, topic, sent...)
	m := x.join(topic, x.name("group"))
	var got []string
	for i := range sent {
		msg := m.next("message in order")
		got = append(got, msg.UUID)
		if i == 3 {
			m.nothing("another is in flight in Ordered mode")
			msg.Nack()
			if again := m.next("nacked message"); again.UUID != msg.UUID {
				x.Fatalf("%s is delivered before %s, which was nacked", again.UUID, msg.UUID)
			} else {
				again.Ack()
			}
			continue
		}
		msg.Ack()
	}
	if want := noteIDs(sent); !slices.Equal(got, want) {
		x.Fatalf("the order is %v; published were %v", got, want)
	}
}

// In Unordered mode messages of one key, or of none, are in flight together.
func testAdapterNoOrder(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	sent := notes(10, "m", "key", "")
	x.publish(pub, topic, sent...)
	m := x.join(topic, x.name("group"))
	held := m.take(len(sent), "messages together in Unordered mode")
	x.same("in flight together", noteIDs(held), noteIDs(sent))
	for _, msg := range held {
		msg.Ack()
	}
}

// A message beyond the limits is refused before anything is sent, and those with it. What is refused
// names its reason.
func testAdapterRefused(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	large, many := note("large", ""), note("many", "")
	large.Payload = make([]byte, 16<<20)
	for i := range 10_000 {
		many.Metadata[fmt.Sprint("header-", i)] = "x"
	}
	for _, bad := range []*message.Message{large, many} {
		if err := pub.Publish(topic, note("before", ""), bad, note("behind", "")); !errors.Is(err, channel.ErrTooLarge) {
			x.Errorf("publishing message %q: error %v; want channel.ErrTooLarge", bad.UUID, err)
		}
	}
	x.publish(pub, topic, note("last", ""))
	x.same("delivered", x.join(topic, x.name("group")).through("last"), []string{"last"})
}

// Ends close once and again, at the same time too, and then give ErrClosed.
func testAdapterClose(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	x.publish(pub, topic, note("m", ""))
	m := x.join(topic, x.name("group"))
	m.through("m")
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := errors.Join(pub.Close(), m.sub.Close()); err != nil {
				x.Errorf("closing: %v", err)
			}
		})
	}
	x.within("closed, four times at once", all.Wait)
	m.over()
	if err := pub.Publish(topic, note("late", "")); !errors.Is(err, adapters.ErrClosed) {
		x.Errorf("publishing after Close: error %v; want adapters.ErrClosed", err)
	}
	if _, err := m.sub.Subscribe(context.WithoutCancel(x.Context()), topic); !errors.Is(err, adapters.ErrClosed) {
		x.Errorf("subscribing after Close: error %v; want adapters.ErrClosed", err)
	}
	x.publish(x.publisher(), topic, note("other", "")) // ends close for themselves
	x.join(topic, x.name("group")).through("other")
}
