package leattest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// What a plain Subscriber promises while nothing breaks.
func adapterReadCases() []adapterCase {
	return []adapterCase{
		{name: "groups", test: testAdapterGroups},
		{name: "members", test: testAdapterMembers},
		{name: "no group", test: testAdapterNoGroup},
		{name: "group made before", needs: []adapterNeed{needsOf[message.SubscribeInitializer]("SubscribeInitializer")}, test: testAdapterInitialize},
		{name: "grouper", needs: []adapterNeed{needsOf[adapters.Grouper]("Grouper")}, test: testAdapterGrouper},
		{name: "nack", test: testAdapterNack},
		{name: "attempts", needs: []adapterNeed{{"how often a message was delivered: give AdapterEnv.Again", func(x *adapterTest, _ message.Publisher, _ message.Subscriber) bool {
			return x.env.Again != nil
		}}}, test: testAdapterAttempts},
		{name: "drain", settings: AdapterSettings{Order: adapters.Unordered, Window: 4, Drain: 10 * time.Second}, test: testAdapterDrain},
		{name: "drain over", settings: AdapterSettings{Drain: 100 * time.Millisecond}, test: testAdapterDrainOver},
		{name: "window", settings: AdapterSettings{Order: adapters.Unordered, Window: 8}, test: testAdapterWindow},
		{name: "lag", settings: AdapterSettings{Order: adapters.Ordered}, needs: []adapterNeed{needsOf[adapters.Lagger]("Lagger")}, test: testAdapterLag},
	}
}

// Every group sees every message.
func testAdapterGroups(x *adapterTest) {
	topic, pub := x.topic(2), x.publisher()
	one, two := x.join(topic, x.name("group")), x.join(topic, x.name("group"))
	sent := notes(20, "m", keyNames(5)...)
	x.publish(pub, topic, sent...)
	for _, m := range []*adapterMember{one, two} {
		got := m.through(noteIDs(sent)...)
		x.same("a group of two", got, noteIDs(sent))
		if len(got) != len(sent) {
			x.Errorf("a group of two got %d deliveries of %d messages", len(got), len(sent))
		}
	}
}

// The members of a group share its messages: each message is delivered to one, and each gets some.
func testAdapterMembers(x *adapterTest) {
	topic, pub, group := x.topic(4), x.publisher(), x.name("group")
	one, two := x.join(topic, group), x.join(topic, group)
	seen := map[string]int{}
	shares := map[*adapterMember]int{}
	take := func(m *adapterMember, msg *message.Message) {
		seen[msg.UUID]++
		shares[m]++
		msg.Ack()
	}
	sent := 0
	over := time.Now().Add(x.spec.Patience)
	for shares[one] == 0 || shares[two] == 0 || len(seen) < sent {
		if time.Now().After(over) {
			x.Fatalf("after %v: of %d messages the members have %d and %d", x.spec.Patience, sent, shares[one], shares[two])
		}
		if len(seen) == sent { // not before the last are through: their owners change while members join
			ms := notes(16, strconv.Itoa(sent), keyNames(16)...)
			x.publish(pub, topic, ms...)
			sent += len(ms)
		}
		timer := time.NewTimer(quiet)
		select {
		case msg := <-one.ms:
			take(one, msg)
		case msg := <-two.ms:
			take(two, msg)
		case <-timer.C:
		}
		timer.Stop()
	}
	for id, n := range seen {
		if n > 1 {
			x.Errorf("%s is delivered %d times to the members of one group", id, n)
		}
	}
}

// Without a group every subscription sees every message that is published while it reads.
func testAdapterNoGroup(x *adapterTest) {
	topic, pub := x.topic(2), x.publisher()
	one, two := x.join(topic, ""), x.join(topic, "")
	sent := noteIDs(notes(20, "m", ""))
	x.publish(pub, topic, notes(20, "m", keyNames(5)...)...)
	x.same("the first without a group", one.through(sent...), sent)
	x.same("the second without a group", two.through(sent...), sent)
	one.leave()
	x.publish(pub, topic, note("more", ""))
	two.through("more")
}

// A group that was made sees what is published from then on, though nobody reads yet, and other groups
// have read it.
func testAdapterInitialize(x *adapterTest) {
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	init, ok := adapters.As[message.SubscribeInitializer](x.subscriber(AdapterReader{Group: group}))
	if !ok {
		x.Fatal("one Subscriber has SubscribeInitialize, and another has not")
	}
	for range 2 { // it may be called again
		if err := init.SubscribeInitialize(topic); err != nil {
			x.Fatalf("SubscribeInitialize: %v", err)
		}
	}
	x.publish(pub, topic, note("m", ""))
	other := x.join(topic, x.name("group"))
	other.through("m")
	other.leave() // its acknowledgement has arrived
	x.join(topic, group).through("m")
}

// A Grouper's Subscriber for another group is as good as one made for it, and closes with it.
func testAdapterGrouper(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	parent := x.subscriber(AdapterReader{Group: x.name("group")})
	g, ok := adapters.As[adapters.Grouper](parent)
	if !ok {
		x.Fatal("one Subscriber is a Grouper, and another is not")
	}
	var members []*adapterMember
	for _, group := range []string{x.name("group"), x.name("group"), ""} {
		sub := g.Group(group)
		ms, err := sub.Subscribe(context.WithoutCancel(x.Context()), topic)
		if err != nil {
			x.Fatalf("subscribing for group %q: %v", group, err)
		}
		members = append(members, &adapterMember{x: x, sub: sub, ms: ms})
	}
	x.publish(pub, topic, note("m", ""))
	for _, m := range members {
		m.through("m")
	}
	members[0].leave() // alone
	x.publish(pub, topic, note("n", ""))
	members[1].through("n")
	members[2].through("n")
	x.within("closed the Subscriber that gave the groups", func() { _ = parent.Close() })
	members[1].over()
	members[2].over()
}

// A nacked message comes again, the same in every respect, with the values of its subscription's context,
// before what follows it under its key; other keys do not wait for it. Once acknowledged its context
// ends.
func testAdapterNack(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	first := note("a-0", "a", "traceparent", adapterTraceparent, "name", "value")
	x.publish(pub, topic, first, note("a-1", "a"))
	others := notes(8, "other", keyNames(8)...)
	x.publish(pub, topic, others...)
	m := x.join(topic, x.name("group"))
	nacks, open := 0, map[string]bool{"a-0": true, "a-1": true}
	for _, id := range noteIDs(others) {
		open[id] = true
	}
	var held *message.Message
	for len(open) > 0 {
		msg := m.next("message, with one nacked")
		if msg.Context().Value(adapterValue{}) != topic {
			x.Errorf("%s, %d nacks: the context lacks the values of the subscription's", msg.UUID, nacks)
		}
		if msg.Context().Err() != nil {
			x.Errorf("%s, %d nacks: the context has ended: %v", msg.UUID, nacks, context.Cause(msg.Context()))
		}
		switch {
		case msg.UUID == "a-0" && nacks < 3:
			x.equal(msg, first)
			nacks++
			msg.Nack()
		case msg.UUID == "a-0" && len(open) > 3: // other keys go on; one of their hashes may be that of a
			x.equal(msg, first)
			held = msg
		case msg.UUID == "a-1" && (nacks < 3 || held != nil || open["a-0"]):
			x.Fatalf("a-1 is delivered before a-0, which was nacked %d times, is acknowledged", nacks)
		default:
			delete(open, msg.UUID)
			ctx := msg.Context()
			msg.Ack()
			x.ended("ended the context of an acknowledged message", ctx.Done())
		}
		if held != nil && len(open) <= 3 {
			delete(open, "a-0")
			held.Ack()
			held = nil
		}
	}
}

// How often a message came before is known of each delivery, and of none but its own.
func testAdapterAttempts(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	x.publish(pub, topic, note("a", ""), note("b", ""))
	m := x.join(topic, x.name("group"))
	for _, id := range []string{"a", "b"} {
		for n := range 4 {
			msg := m.next("nacked message")
			again := x.env.Again(msg)
			if said, _ := msg.Context().Value(adapters.RedeliveredKey{}).(bool); msg.UUID != id || again != n || said != (n > 0) {
				x.Fatalf("%s comes, said to be delivered %d times before, redelivered: %v; want %s, %d times", msg.UUID, again, said, id, n)
			}
			if n == 3 {
				msg.Ack()
			} else {
				msg.Nack()
			}
		}
	}
}

// Close delivers nothing more, waits for what is in flight, and takes its acknowledgements: that is not
// delivered again, and all else is. The channel is closed last.
func testAdapterDrain(x *adapterTest) {
	const keys = 20
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	sent := notes(2*keys, "m", keyNames(keys)...)
	x.publish(pub, topic, sent...)
	m := x.join(topic, group)
	held := m.take(x.settings.Window, "messages in flight")
	closing, closed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(closed)
		close(closing)
		if err := m.sub.Close(); err != nil {
			x.Errorf("closing a subscriber: %v", err)
		}
	}()
	<-closing
	m.nothing("it closes, and what is in flight is not settled")
	for i, msg := range held {
		if msg.Context().Err() != nil {
			x.Fatalf("the context of %s, in flight, ends while DrainTimeout is not over: %v", msg.UUID, context.Cause(msg.Context()))
		}
		select {
		case <-closed:
			x.Fatalf("Close returns while %d messages are in flight", len(held)-i)
		default:
		}
		msg.Ack()
	}
	x.ended("closed, with everything acknowledged", closed)
	m.over()
	last := notes(keys, "last", keyNames(keys)...) // behind all that may come again
	x.publish(pub, topic, last...)
	var rest []string
	for _, msg := range slices.Concat(sent, last) {
		if !slices.Contains(noteIDs(held), msg.UUID) {
			rest = append(rest, msg.UUID)
		}
	}
	got := x.join(topic, group).through(rest...)
	x.same("delivered after the drain", got, rest)
	if len(got) != len(rest) {
		x.Errorf("after the drain there are %d deliveries of %d messages", len(got), len(rest))
	}
}

// What is not acknowledged within DrainTimeout is lost to its reader: the context ends with a cause that
// says so, acknowledging is too late, the channel closes, and another gets it.
func testAdapterDrainOver(x *adapterTest) {
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, topic, note("kept", ""))
	m := x.join(topic, group)
	kept := m.next("message")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = m.sub.Close()
	}()
	x.ended("ended the context of a message that was kept longer than DrainTimeout", kept.Context().Done())
	if cause := context.Cause(kept.Context()); !errors.Is(cause, channel.ErrStopped) {
		x.Errorf("the cause is %v; want channel.ErrStopped", cause)
	}
	x.ended("closed, though a message is not acknowledged", closed)
	m.over()
	kept.Ack()
	x.join(topic, group).through("kept")
}

// No more messages are in flight than the window has room for, however slow their reader is. Settling the
// oldest makes room.
func testAdapterWindow(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	sent := notes(50, "m", "")
	x.publish(pub, topic, sent...)
	m := x.join(topic, x.name("group"))
	held := m.take(x.settings.Window, "messages of a window")
	m.nothing(fmt.Sprintf("%d messages are in flight and the window has room for no more", len(held)))
	oldest := slices.IndexFunc(held, func(msg *message.Message) bool { return msg.UUID == sent[0].UUID })
	if oldest < 0 {
		x.Fatalf("in flight are %v, and not the oldest", noteIDs(held))
	}
	seen := noteIDs(held)
	held[oldest].Ack()
	held[oldest] = m.next("message, with room for one")
	seen = append(seen, held[oldest].UUID)
	m.nothing("the window is full again")
	for _, msg := range held {
		msg.Ack()
	}
	var rest []string
	for _, id := range noteIDs(sent) {
		if !slices.Contains(seen, id) {
			rest = append(rest, id)
		}
	}
	m.through(rest...)
}

// The lag counts what the group has not acknowledged, and nobody else's.
func testAdapterLag(x *adapterTest) {
	topic, other, pub, group := x.topic(1), x.topic(1), x.publisher(), x.name("group")
	m := x.join(topic, group)
	l, ok := adapters.As[adapters.Lagger](m.sub)
	if !ok {
		x.Fatal("one Subscriber is a Lagger, and another is not")
	}
	x.await("seen a lag of 0 where nothing was published", func() bool { return l.Lag(topic) == 0 })
	x.publish(pub, other, note("other", ""))
	x.publish(pub, topic, notes(10, "m", keyNames(10)...)...)
	first := m.next("message")
	x.await("seen a lag of 10, what is in flight included", func() bool { return l.Lag(topic) == 10 })
	first.Ack()
	m.next("message").Ack()
	x.await("seen a lag of 8", func() bool { return l.Lag(topic) == 8 })
	for range 8 {
		m.next("message").Ack()
	}
	x.await("seen a lag of 0", func() bool { return l.Lag(topic) == 0 })
}
