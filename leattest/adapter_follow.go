package leattest

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/leat-go/leat/adapters"
)

// follow follows topics from their start, as a process of its own; caughtUp counts the calls.
func (x *adapterTest) follow(caughtUp *atomic.Int64, topics ...string) *adapterOwner {
	x.Helper()
	sub := x.subscriber(AdapterReader{})
	f, ok := adapters.As[adapters.Follower](sub)
	if !ok {
		x.Fatal("one Subscriber is a Follower, and another is not")
	}
	o := x.owner(sub)
	o.run(func(ctx context.Context) error {
		return f.Follow(ctx, topics, o.own, func() { caughtUp.Add(1) })
	})
	return o
}

// Every follower sees its topics from their start, all of it, and is told once that it has finished what
// was there when it began; and then all that comes.
func testAdapterFollow(x *adapterTest) {
	topics := []string{x.topic(2), x.topic(1)}
	pub := x.publisher()
	var caught [2]atomic.Int64
	var begin []string
	for i, topic := range topics {
		if early, ok := adapters.As[adapters.Topics](pub); ok && x.env.Topic == nil {
			if err := early.Ensure(x.Context(), topics); err != nil {
				x.Fatalf("Ensure: %v", err)
			}
		}
		ms := notes(12, []string{"a", "b"}[i], keyNames(6)...)
		x.publish(pub, topic, ms...)
		begin = append(begin, noteIDs(ms)...)
	}
	for i := range caught {
		o := x.follow(&caught[i], topics...)
		rs := o.take(len(begin), "record from the start")
		var got []string
		for j := range slices.Backward(rs) {
			got = append(got, rs[j].ID)
			if caught[i].Load() > 0 {
				x.Fatalf("it is caught up, and %d records are not finished", j+1)
			}
			rs[j].finish()
		}
		x.same("followed from the start", got, begin)
		x.await("caught up", func() bool { return caught[i].Load() > 0 })
		more := notes(6, []string{"c", "d"}[i], keyNames(6)...)
		x.publish(pub, topics[0], more...)
		o.through(noteIDs(more)...)
		begin = append(begin, noteIDs(more)...)
		if n := caught[i].Load(); n != 1 {
			x.Errorf("it is caught up %d times", n)
		}
		o.leave()
	}
}

// A follower of empty topics is caught up at once.
func testAdapterFollowNothing(x *adapterTest) {
	var caught atomic.Int64
	topic, pub := x.topic(2), x.publisher()
	o := x.follow(&caught, topic)
	x.await("caught up with nothing", func() bool { return caught.Load() == 1 })
	x.publish(pub, topic, note("m", ""))
	o.through("m")
	o.leave()
	if n := caught.Load(); n != 1 {
		x.Errorf("it is caught up %d times", n)
	}
}
