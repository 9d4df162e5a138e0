package leattest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/leat-go/leat/adapters"
)

// What a plain Subscriber promises when members come, go and vanish.
func adapterFaultCases() []adapterCase {
	return []adapterCase{
		{name: "crash", settings: AdapterSettings{Crashes: true, Window: 8, Drain: 300 * time.Millisecond}, needs: []adapterNeed{needsCrash()}, test: testAdapterCrash},
		{name: "contiguous commit", settings: AdapterSettings{Crashes: true, Order: adapters.Unordered, Window: 40, Drain: 300 * time.Millisecond}, needs: []adapterNeed{needsCrash()}, test: testAdapterContiguous},
		{name: "rebalance", settings: AdapterSettings{Drain: 10 * time.Second}, test: testAdapterRebalance},
		{name: "heap", alone: true, settings: AdapterSettings{Order: adapters.Unordered, Window: 16}, needs: []adapterNeed{needsHeap()}, test: testAdapterHeap},
		{name: "leaks", alone: true, test: testAdapterLeaks},
	}
}

// A member vanishes with messages in flight, after it has worked on others. Nothing is lost: another gets
// what was not acknowledged, and at most a window of each partition that was. What the dead one still
// says does not count, and in time it learns that it has lost its messages.
func testAdapterCrash(x *adapterTest) {
	const partitions, messages, worked = 2, 100, 50
	topic, pub, group := x.topic(partitions), x.publisher(), x.name("group")
	sent := notes(messages, "m", keyNames(20)...)
	x.publish(pub, topic, sent...)
	one := x.join(topic, group)
	acked := map[string]bool{}
	for range worked {
		msg := one.next("message before the crash")
		acked[msg.UUID] = true
		msg.Ack()
	}
	held := one.take(5, "messages in flight")
	x.env.Crash(one.sub)
	two := x.join(topic, group)
	var rest []string
	for _, m := range sent {
		if !acked[m.UUID] {
			rest = append(rest, m.UUID)
		}
	}
	x.ended("ended the context of a message whose reader vanished", held[0].Context().Done())
	if cause := context.Cause(held[0].Context()); cause == nil {
		x.Errorf("the context of a lost message ends without a cause")
	}
	held[0].Ack() // too late
	got := two.through(rest...)
	last := notes(20, "last", keyNames(20)...)
	x.publish(pub, topic, last...)
	got = append(got, two.through(noteIDs(last)...)...)
	count, again := map[string]int{}, 0
	for _, id := range got {
		if count[id]++; acked[id] {
			again++
		}
		if count[id] > 1 {
			x.Errorf("%s is delivered again to the member that had acknowledged it", id)
		}
	}
	if most := partitions * x.settings.Window; again > most {
		x.Errorf("%d acknowledged messages are delivered again; want at most a window of each partition, %d", again, most)
	}
}

// Messages are acknowledged out of order, the newest first, and the member vanishes when what has no gap
// before it is acknowledged for good: the window has room again. What was not acknowledged comes again,
// wherever it is; then, acknowledged in reverse, nothing does.
func testAdapterContiguous(x *adapterTest) {
	messages := x.settings.Window
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	sent := notes(messages+3, "m", "")
	x.publish(pub, topic, sent...)
	one := x.join(topic, group)
	held := map[string]*message.Message{}
	for _, msg := range one.take(messages, "messages of a window") {
		held[msg.UUID] = msg
	}
	var open []string
	for i, id := range slices.Backward(noteIDs(sent[:messages])) {
		switch {
		case held[id] == nil:
			x.Fatalf("%s is not in flight, and later messages are", id)
		case i == 3 || i == 17 || i >= messages-2:
			open = append(open, id)
		default:
			held[id].Ack()
		}
	}
	open = append(open, one.next("message, with the first acknowledged for good").UUID)
	x.env.Crash(one.sub)
	two := x.join(topic, group)
	x.publish(pub, topic, note("last", ""))
	again := two.hold(open...)
	for _, msg := range slices.Backward(again) {
		msg.Ack()
	}
	if !slices.Contains(noteIDs(again), "last") {
		two.through("last")
	}
	two.rest()
	two.leave()
	x.publish(pub, topic, note("end", ""))
	if got := x.join(topic, group).through("end"); len(got) != 1 {
		x.Errorf("%v are delivered though everything before was acknowledged", got)
	}
}

// hold takes what comes until every one of the ids has come, and acknowledges nothing.
func (m *adapterMember) hold(ids ...string) (got []*message.Message) {
	m.x.Helper()
	for len(ids) > 0 {
		msg := m.next("delivery of " + few(ids))
		ids = slices.DeleteFunc(ids, func(id string) bool { return id == msg.UUID })
		got = append(got, msg)
	}
	return got
}

// rest acknowledges what comes until nothing does.
func (m *adapterMember) rest() {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case msg := <-m.ms:
			msg.Ack()
			timer.Reset(quiet)
		case <-timer.C:
			return
		}
	}
}

// Members join and leave while messages are in flight. Nothing is lost; nobody gets what another has, or
// what was acknowledged; each key keeps its order.
func testAdapterRebalance(x *adapterTest) {
	const partitions, rounds, each, keys = 4, 8, 48, 16
	topic, pub, group := x.topic(partitions), x.publisher(), x.name("group")
	var books Ledger
	w := &adapterWork{x: x, books: &books, out: map[string]*message.Message{}}
	members := []*adapterMember{x.join(topic, group)}
	w.begin(members[0])
	for round := range rounds {
		ms := notes(each, fmt.Sprint("round-", round), keyNames(keys)...)
		x.publish(books.Publisher(pub), topic, ms...)
		switch round {
		case 1, 2, 5: // one joins
			m := x.join(topic, group)
			members = append(members, m)
			w.begin(m)
		case 3, 4, 6: // the eldest leaves
			members[0].end()
			members = members[1:]
		}
		x.await(fmt.Sprintf("through with half of round %d", round), func() bool { return w.done() >= (2*round+1)*each/2 })
	}
	x.await("through with everything", func() bool { return w.done() >= rounds*each })
	for _, m := range members {
		m.end()
	}
	x.within("ended every subscription", w.readers.Wait)
	if v := books.Verdict(); !v.Zero() {
		x.Errorf("members that join and leave: %v", v)
	}
}

// An adapterWork is what the members of a group do with their messages, each in a goroutine.
type adapterWork struct {
	x       *adapterTest
	books   *Ledger
	readers sync.WaitGroup

	mu      sync.Mutex
	out     map[string]*message.Message
	effects map[string]bool
}

func (w *adapterWork) begin(m *adapterMember) {
	w.readers.Go(func() {
		var all sync.WaitGroup
		defer all.Wait()
		for msg := range m.ms {
			w.mu.Lock()
			if has := w.out[msg.UUID]; has != nil && has.Context().Err() == nil {
				w.x.Errorf("%s is delivered while another member has it", msg.UUID)
			}
			w.out[msg.UUID] = msg
			w.mu.Unlock()
			all.Go(func() { w.work(msg) })
		}
	})
}

func (w *adapterWork) work(msg *message.Message) {
	pass(msg.Context(), 2*time.Millisecond) // work takes time
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out[msg.UUID] == msg {
		delete(w.out, msg.UUID)
	}
	if msg.Context().Err() != nil {
		return // lost
	}
	if w.effects == nil {
		w.effects = map[string]bool{}
	}
	w.effects[msg.UUID] = true
	w.books.Effect(msg.UUID)
	msg.Ack()
}

func (w *adapterWork) done() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.effects)
}

// While 64 MiB wait and their reader does nothing, the heap grows by no more than the spec says.
func testAdapterHeap(x *adapterTest) {
	const size, all, batch = 16 << 10, 64 << 20, 128
	random := rand.NewChaCha8([32]byte{}) // what does not compress
	topic, pub := x.topic(1), x.publisher()
	for sent := 0; sent < all/size; sent += batch {
		ms := notes(batch, fmt.Sprint("m-", sent), "")
		for _, m := range ms {
			m.Payload = make([]byte, size)
			_, _ = random.Read(m.Payload) // it never fails
		}
		x.publish(pub, topic, ms...)
	}
	before := heapNow()
	m := x.join(topic, x.name("group"))
	held := m.take(x.settings.Window, "messages of a window")
	most := uint64(0)
	for range 10 {
		m.nothing("the window is full")
		most = max(most, heapNow())
	}
	x.Logf("with %d MiB waiting the heap grew by %d KiB", all>>20, (most-min(most, before))>>10)
	if most > before+x.spec.Heap {
		x.Errorf("with %d MiB waiting the heap grew by %d KiB; want at most %d", all>>20, (most-before)>>10, x.spec.Heap>>10)
	}
	for _, msg := range held {
		msg.Ack()
	}
}

func heapNow() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// Ends that were used and closed leave no goroutine behind, those with messages in flight neither.
func testAdapterLeaks(x *adapterTest) {
	options := []goleak.Option{goleak.IgnoreCurrent()}
	for _, f := range x.spec.Stays {
		options = append(options, goleak.IgnoreAnyFunction(f))
	}
	topic, pub, group := x.topic(2), x.publisher(), x.name("group")
	x.publish(pub, topic, notes(10, "m", keyNames(5)...)...)
	one, two, three := x.join(topic, group), x.join(topic, ""), x.join(topic, x.name("group"))
	three.take(1, "message") // stays in flight
	held := two.take(2, "messages")
	for _, msg := range held {
		msg.Nack()
	}
	one.end()
	for _, m := range []*adapterMember{one, two, three} {
		m.leave()
	}
	if err := pub.Close(); err != nil {
		x.Errorf("closing a publisher: %v", err)
	}
	if err := goleak.Find(options...); err != nil {
		x.Errorf("after everything was closed: %v", err)
	}
}
