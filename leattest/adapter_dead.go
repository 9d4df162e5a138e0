package leattest

import (
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/flow"
)

// What a plain Subscriber does with messages that finally fail, if it has dead letters of its own.
func adapterDeadCases() []adapterCase {
	return []adapterCase{
		{name: "dead letter", needs: []adapterNeed{needsDeadLetters()}, test: testAdapterDeadLetter},
		{name: "dead letter down", settings: AdapterSettings{Drain: 300 * time.Millisecond}, needs: []adapterNeed{needsDeadLetters(), needsOutage()}, test: testAdapterDeadLetterDown},
		{name: "foreign record", needs: []adapterNeed{needsForeign()}, test: testAdapterForeign},
		{name: "foreign record, dead letter", needs: []adapterNeed{needsForeign(), needsDeadLetters()}, test: testAdapterForeignDead},
	}
}

// After its last attempt a message is in the dead letter: its bytes, key and headers, what became of it,
// and where it came from. What follows it under its key goes on, and it does not come again.
func testAdapterDeadLetter(x *adapterTest) {
	const attempts = 3
	topic, dead, pub, group := x.topic(1), x.topic(1), x.publisher(), x.name("group")
	poison := note("poison", "k", "traceparent", adapterTraceparent, "name", "value")
	poison.Payload = []byte("bytes \x00\xff")
	x.publish(pub, topic, note("before", "k"), poison.Copy(), note("behind", "k"))
	m := x.read(topic, AdapterReader{Group: group, Attempts: attempts, DeadLetter: dead})
	tries := 0
	for _, id := range []string{"before", "poison", "poison", "poison", "behind"} {
		msg := m.next("message around one that dies")
		if msg.UUID != id {
			x.Fatalf("%s is delivered, poison was nacked %d times of %d; want %s", msg.UUID, tries, attempts, id)
		}
		if id == "poison" {
			tries++
			msg.Nack()
			continue
		}
		msg.Ack()
	}
	letter := x.join(dead, x.name("group")).next("dead letter")
	x.equal(letter, poison)
	for name, want := range map[string]string{flow.DeadAttempts: strconv.Itoa(attempts), flow.DeadTopic: topic} {
		if got := letter.Metadata[name]; got != want {
			x.Errorf("the dead letter's %s is %q; want %q", name, got, want)
		}
	}
	for _, name := range []string{flow.DeadError, flow.DeadOrigin} {
		if letter.Metadata[name] == "" {
			x.Errorf("the dead letter has no %s", name)
		}
	}
	for _, name := range []string{flow.DeadFirst, flow.DeadLast} {
		if _, err := time.Parse(time.RFC3339Nano, letter.Metadata[name]); err != nil {
			x.Errorf("the dead letter's %s: %v", name, err)
		}
	}
	letter.Ack()
	m.leave()
	x.publish(pub, topic, note("last", "k"))
	if got := x.join(topic, group).through("last"); len(got) != 1 {
		x.Errorf("%v are delivered; what is in the dead letter is acknowledged", got)
	}
}

// While the dead letter cannot be written, what is to go there is not acknowledged: another reader gets
// it. Other keys go on. Once it can be written, it is.
func testAdapterDeadLetterDown(x *adapterTest) {
	topic, dead, pub, group := x.topic(1), x.topic(1), x.publisher(), x.name("group")
	reader := AdapterReader{Group: group, Attempts: 1, DeadLetter: dead}
	x.env.Outage(dead, true)
	x.publish(pub, topic, note("poison", ""))
	m := x.read(topic, reader)
	m.next("message that dies").Nack()
	healthy := notes(20, "healthy", keyNames(20)...)
	x.publish(pub, topic, healthy...)
	seen := map[string]bool{}
	for len(seen) < len(healthy) {
		msg := m.next("message of another key")
		if msg.UUID == "poison" {
			x.Fatal("a message after its last attempt is delivered again to the one that had it")
		}
		seen[msg.UUID] = true
		msg.Ack()
	}
	m.leave()
	m = x.read(topic, reader)
	for dying := true; dying; {
		msg := m.next("message that has no dead letter yet, to another reader")
		if dying = msg.UUID != "poison"; dying {
			msg.Ack()
		} else {
			msg.Nack()
		}
	}
	x.env.Outage(dead, false)
	letters := x.join(dead, x.name("group"))
	if l := letters.next("dead letter, now that it can be written"); l.UUID != "poison" {
		x.Errorf("the dead letter is %s", l.UUID)
	}
	letters.nothing("the one dead letter is written")
}

// A record that is no message ends no subscription: what is behind it comes.
func testAdapterForeign(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	x.publish(pub, topic, note("before", ""))
	x.env.Foreign(topic)
	x.publish(pub, topic, note("behind", "k"))
	m := x.join(topic, x.name("group"))
	if got := m.through("before", "behind"); len(got) != 2 {
		x.Errorf("delivered are %v", got)
	}
	x.publish(pub, topic, notes(8, "more", keyNames(8)...)...)
	m.through(noteIDs(notes(8, "more", ""))...)
}

// With a dead letter its bytes are there, once, and say where they came from.
func testAdapterForeignDead(x *adapterTest) {
	topic, dead, pub, group := x.topic(1), x.topic(1), x.publisher(), x.name("group")
	raw := x.env.Foreign(topic)
	x.publish(pub, topic, note("behind", ""))
	m := x.read(topic, AdapterReader{Group: group, Attempts: 3, DeadLetter: dead})
	m.through("behind")
	letters := x.join(dead, x.name("group"))
	x.deadBytes(letters.next("dead letter"), raw, topic)
	m.leave()
	x.publish(pub, topic, note("last", ""))
	if got := x.join(topic, group).through("last"); len(got) != 1 {
		x.Errorf("%v are delivered; want the last alone", got)
	}
	letters.nothing("the one foreign record has its dead letter")
}

func (x *adapterTest) deadBytes(letter *message.Message, raw []byte, topic string) {
	x.Helper()
	if string(letter.Payload) != string(raw) {
		x.Errorf("the dead letter holds %.80q; the record was %.80q", letter.Payload, raw)
	}
	if letter.Metadata[flow.DeadTopic] != topic || letter.Metadata[flow.DeadOrigin] == "" || letter.Metadata[flow.DeadError] == "" {
		x.Errorf("the dead letter is from topic %q, %q, because of %q", letter.Metadata[flow.DeadTopic], letter.Metadata[flow.DeadOrigin], letter.Metadata[flow.DeadError])
	}
}
