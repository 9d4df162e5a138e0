package leattest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// What adapters.BatchPublisher, Transactor and Topics promise.
func adapterBatchCases() []adapterCase {
	batches := []adapterNeed{needsOf[adapters.BatchPublisher]("BatchPublisher")}
	transactions := []adapterNeed{needsOf[adapters.Transactor]("Transactor"), needsOf[adapters.Claims]("Claims")}
	topics := []adapterNeed{needsOf[adapters.Topics]("Topics")}
	return []adapterCase{
		{name: "batches", needs: batches, test: testAdapterBatches},
		{name: "batch order", needs: batches, test: testAdapterBatchOrder},
		{name: "batch results", needs: batches, test: testAdapterBatchResults},
		{name: "batch outage", needs: append(batches, needsOutage()), test: testAdapterBatchOutage},
		{name: "batch publisher closed", needs: batches, test: testAdapterBatchClosed},
		{name: "transactions", needs: transactions, test: testAdapterTransactions},
		{name: "transaction refused", needs: transactions, test: testAdapterTransactionRefused},
		{name: "transaction lost", needs: transactions, test: testAdapterTransactionLost},
		{name: "topics made", settings: AdapterSettings{Create: true}, needs: topics, test: testAdapterTopicsMade},
		{name: "topics missing", needs: topics, test: testAdapterTopicsMissing},
	}
}

// adapterSent is what became of messages that were given to Send.
type adapterSent struct {
	x *adapterTest

	mu   sync.Mutex
	done map[*adapters.Outgoing]int
}

func (x *adapterTest) batch(p message.Publisher) (adapters.BatchPublisher, *adapterSent) {
	x.Helper()
	b, ok := adapters.As[adapters.BatchPublisher](p)
	if !ok {
		x.Fatal("one Publisher is a BatchPublisher, and another is not")
	}
	return b, &adapterSent{x: x, done: map[*adapters.Outgoing]int{}}
}

func (s *adapterSent) took(outs []*adapters.Outgoing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range outs {
		if s.done[o]++; s.done[o] > 1 {
			s.x.Errorf("done is called %d times with %s", s.done[o], o.ID)
		}
	}
}

// all waits until done was called with n messages, and gives the errors by id.
func (s *adapterSent) all(n int) map[string]error {
	s.x.Helper()
	s.x.await(fmt.Sprintf("done with %d messages", n), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.done) >= n
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := map[string]error{}
	for o := range s.done {
		errs[o.ID] = o.Err
	}
	return errs
}

func outgoing(topic, id, key string, headers ...string) *adapters.Outgoing {
	o := &adapters.Outgoing{Topic: topic, ID: id, Key: key, Payload: []byte(id)}
	for i := 0; i+1 < len(headers); i += 2 {
		o.Headers = append(o.Headers, channel.Field{Name: headers[i], Value: headers[i+1]})
	}
	return o
}

// One batch goes to several topics; done has each message exactly once, and the messages are there as
// they were sent.
func testAdapterBatches(x *adapterTest) {
	one, two, pub := x.topic(1), x.topic(2), x.publisher()
	b, sent := x.batch(pub)
	outs := []*adapters.Outgoing{
		outgoing(one, "a", "", "name", "value", "traceparent", adapterTraceparent),
		outgoing(two, "b", "key"), outgoing(one, "c", "key"), outgoing(two, "d", ""),
	}
	outs[3].Context = x.Context()
	b.Send(nil, sent.took)
	b.Send(outs, sent.took)
	for id, err := range sent.all(len(outs)) {
		if err != nil {
			x.Errorf("sending %s: %v", id, err)
		}
	}
	want := map[string]*message.Message{
		"a": note("a", "", "name", "value", "traceparent", adapterTraceparent),
		"b": note("b", "key"), "c": note("c", "key"), "d": note("d", ""),
	}
	for topic, ids := range map[string]string{one: "ac", two: "bd"} {
		m := x.join(topic, x.name("group"))
		for range ids {
			msg := m.next("message that was sent")
			if !strings.Contains(ids, msg.UUID) || want[msg.UUID] == nil {
				x.Fatalf("%s is delivered from topic %s, or again", msg.UUID, topic)
			}
			x.equal(msg, want[msg.UUID])
			delete(want, msg.UUID)
			msg.Ack()
		}
	}
}

// What one goroutine sends keeps its order per key, over many calls, several goroutines at once.
func testAdapterBatchOrder(x *adapterTest) {
	const senders, calls, each = 4, 25, 6
	topic, pub := x.topic(2), x.publisher()
	b, sent := x.batch(pub)
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for c := range calls {
				var outs []*adapters.Outgoing
				for i := range each {
					outs = append(outs, outgoing(topic, fmt.Sprintf("%d-%d-%d", s, c, i), fmt.Sprintf("%d-%d", s, i%2)))
				}
				b.Send(outs, sent.took)
			}
		})
	}
	all.Wait()
	for id, err := range sent.all(senders * calls * each) {
		if err != nil {
			x.Errorf("sending %s: %v", id, err)
		}
	}
	m := x.join(topic, x.name("group"))
	latest := map[string]int{}
	for range senders * calls * each {
		msg := m.next("message that was sent")
		var s, c, i int
		if _, err := fmt.Sscanf(msg.UUID, "%d-%d-%d", &s, &c, &i); err != nil {
			x.Fatalf("message %q: %v", msg.UUID, err)
		}
		if at := c*each + i + 1; at <= latest[keyOf(msg)] {
			x.Errorf("%s is delivered behind a later message of its key", msg.UUID)
		} else {
			latest[keyOf(msg)] = at
		}
		msg.Ack()
	}
}

// Each message has a result of its own: one that is too large, or whose context has ended before there
// is room, takes nobody with it.
func testAdapterBatchResults(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	b, sent := x.batch(pub)
	large := outgoing(topic, "large", "key")
	large.Payload = make([]byte, 16<<20)
	b.Send([]*adapters.Outgoing{outgoing(topic, "before", "key"), large, outgoing(topic, "behind", "key")}, sent.took)
	errs := sent.all(3)
	if errs["before"] != nil || errs["behind"] != nil || !errors.Is(errs["large"], channel.ErrTooLarge) {
		x.Errorf("errors: before %v, behind %v, large %v; want channel.ErrTooLarge for the last alone", errs["before"], errs["behind"], errs["large"])
	}
	if got := x.join(topic, x.name("group")).through("before", "behind"); len(got) != 2 {
		x.Errorf("delivered are %v", got)
	}
}

// With one topic down, those for it fail or wait for their own deadline, and those for another go out.
// It recovers.
func testAdapterBatchOutage(x *adapterTest) {
	up, down, pub := x.topic(1), x.topic(1), x.publisher()
	b, sent := x.batch(pub)
	x.env.Outage(down, true)
	b.Send([]*adapters.Outgoing{outgoing(down, "lost", ""), outgoing(up, "sent", "")}, sent.took)
	x.join(up, x.name("group")).through("sent")
	errs := sent.all(2)
	if errs["sent"] != nil || errs["lost"] == nil {
		x.Errorf("errors: of the topic that is up %v, of the one that is down %v", errs["sent"], errs["lost"])
	}
	if err := pub.Publish(down, note("lost too", "")); err == nil {
		x.Error("publishing to a topic that is down gives no error")
	}
	x.env.Outage(down, false)
	x.await("published to a topic that is up again", func() bool { return pub.Publish(down, note("again", "")) == nil })
	x.join(down, x.name("group")).through("again")
}

// After Close each message fails with ErrClosed.
func testAdapterBatchClosed(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	b, sent := x.batch(pub)
	if err := pub.Close(); err != nil {
		x.Fatalf("closing a publisher: %v", err)
	}
	b.Send([]*adapters.Outgoing{outgoing(topic, "a", ""), outgoing(topic, "b", "k")}, sent.took)
	for id, err := range sent.all(2) {
		if !errors.Is(err, adapters.ErrClosed) {
			x.Errorf("sending %s after Close: error %v; want adapters.ErrClosed", id, err)
		}
	}
}

func (x *adapterTest) transactor() adapters.Transactor {
	x.Helper()
	t, ok := adapters.As[adapters.Transactor](x.publisher())
	if !ok {
		x.Fatal("one Publisher is a Transactor, and another is not")
	}
	if err := t.Recover(x.Context(), nil); err != nil {
		x.Fatalf("a Transactor that has left nothing to recover from: %v", err)
	}
	return t
}

// finished groups records by claim, in their order.
func finished(rs []adapterRecord) (fs []adapters.Finished) {
	at := map[adapters.Claim]int{}
	for _, r := range rs {
		i, ok := at[r.claim]
		if !ok {
			i, at[r.claim] = len(fs), len(fs)
			fs = append(fs, adapters.Finished{Claim: r.claim})
		}
		fs[i].Records = append(fs[i].Records, r.Record)
	}
	return fs
}

// What is sent and what is finished are one, over several transactions and claims; and so they are when
// nothing is finished, or nothing sent.
func testAdapterTransactions(x *adapterTest) {
	in, out, pub, group := x.topic(2), x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, in, notes(30, "m", keyNames(10)...)...)
	tx := x.transactor()
	o := x.claim(group, in)
	var want []string
	for step := range 3 {
		rs := o.take(10, "record")
		var outs []*adapters.Outgoing
		for _, r := range rs {
			if step < 2 {
				outs = append(outs, outgoing(out, "of "+r.ID, r.Key))
				want = append(want, "of "+r.ID)
			}
		}
		if err := tx.Transact(x.Context(), finished(rs), outs); err != nil {
			x.Fatalf("transaction %d: %v", step, err)
		}
	}
	if err := tx.Transact(x.Context(), nil, []*adapters.Outgoing{outgoing(out, "alone", "")}); err != nil {
		x.Fatalf("a transaction that finishes nothing: %v", err)
	}
	got := x.join(out, x.name("group")).through(append(want, "alone")...)
	if len(got) != len(want)+1 {
		x.Errorf("%d messages were sent, and there are %d deliveries", len(want)+1, len(got))
	}
	o.leave()
	last := notes(10, "last", keyNames(10)...)
	x.publish(pub, in, last...)
	if got := x.claim(group, in).through(noteIDs(last)...); len(got) != len(last) {
		x.Errorf("%v come; all but the last were finished", got)
	}
}

// A transaction that cannot be done does nothing, and what is right with it can be done afterwards.
func testAdapterTransactionRefused(x *adapterTest) {
	in, out, pub, group := x.topic(1), x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, in, notes(4, "m", "key")...)
	tx := x.transactor()
	o := x.claim(group, in)
	rs := o.take(4, "record")
	large := outgoing(out, "large", "")
	large.Payload = make([]byte, 16<<20)
	if err := tx.Transact(x.Context(), finished(rs), []*adapters.Outgoing{outgoing(out, "undone", ""), large}); !errors.Is(err, channel.ErrTooLarge) {
		x.Errorf("a transaction with a message that is too large gives %v; want channel.ErrTooLarge", err)
	}
	if !errors.Is(large.Err, channel.ErrTooLarge) {
		x.Errorf("the message that is too large has error %v", large.Err)
	}
	gone, end := context.WithCancel(x.Context())
	end()
	if err := tx.Transact(gone, finished(rs), []*adapters.Outgoing{outgoing(out, "undone too", "")}); err == nil {
		x.Error("a transaction whose context has ended gives no error")
	}
	if err := tx.Transact(x.Context(), finished(rs[:2]), []*adapters.Outgoing{outgoing(out, "done", "")}); err != nil {
		x.Fatalf("a transaction after two that failed: %v", err)
	}
	if got := x.join(out, x.name("group")).through("done"); len(got) != 1 {
		x.Errorf("%v are delivered; only done was committed", got)
	}
	o.leave()
	x.publish(pub, in, note("last", "key"))
	if got := strings.Join(x.claim(group, in).through("last"), " "); got != "m-2 m-3 last" {
		x.Errorf("%s come; m-0 and m-1 were finished", got)
	}
}

// With a claim that is lost nothing is published, and the error is ErrLost.
func testAdapterTransactionLost(x *adapterTest) {
	in, out, pub, group := x.topic(1), x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, in, note("m", ""))
	tx := x.transactor()
	o := x.claim(group, in)
	rs := o.take(1, "record")
	o.leave()
	if err := tx.Transact(x.Context(), finished(rs), []*adapters.Outgoing{outgoing(out, "undone", "")}); !errors.Is(err, adapters.ErrLost) {
		x.Errorf("a transaction on a claim that is lost gives %v; want adapters.ErrLost", err)
	}
	if err := tx.Transact(x.Context(), nil, []*adapters.Outgoing{outgoing(out, "done", "")}); err != nil {
		x.Fatalf("a transaction after one that was lost: %v", err)
	}
	if got := x.join(out, x.name("group")).through("done"); len(got) != 1 {
		x.Errorf("%v are delivered; only done was committed", got)
	}
	x.claim(group, in).through("m")
}

// Topics that are missing are made, once.
func testAdapterTopicsMade(x *adapterTest) {
	pub := x.publisher()
	topics := []string{x.name("topic"), x.name("topic")}
	for range 2 {
		x.ensure(pub, topics, func(err error) {
			if err != nil {
				x.Fatalf("Ensure of %v: %v", topics, err)
			}
		})
	}
	for _, topic := range topics {
		x.publish(pub, topic, note("m", ""))
		x.join(topic, x.name("group")).through("m")
	}
}

// Topics that are missing and not to be made are an error that names each, and none that is there.
func testAdapterTopicsMissing(x *adapterTest) {
	pub := x.publisher()
	there, one, two := x.topic(1), x.name("missing"), x.name("missing")
	x.ensure(pub, []string{there}, func(err error) {
		if err != nil {
			x.Errorf("Ensure of a topic that is there: %v", err)
		}
	})
	x.ensure(pub, []string{one, there, two}, func(err error) {
		if err == nil || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), two) || strings.Contains(err.Error(), there) {
			x.Errorf("Ensure of %s and %s, which are missing, and of one that is there, gives %v", one, two, err)
		}
	})
}

// ensure asks the Publisher and a Subscriber, whichever can.
func (x *adapterTest) ensure(pub message.Publisher, topics []string, judge func(error)) {
	x.Helper()
	if t, ok := adapters.As[adapters.Topics](pub); ok {
		judge(t.Ensure(x.Context(), topics))
	}
	if t, ok := adapters.As[adapters.Topics](x.subscriber(AdapterReader{Group: x.name("group")})); ok {
		judge(t.Ensure(x.Context(), topics))
	}
}
