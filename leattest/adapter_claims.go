package leattest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// What adapters.Claims promises.
func adapterClaimCases() []adapterCase {
	claims := []adapterNeed{needsOf[adapters.Claims]("Claims")}
	crash := []adapterNeed{claims[0], needsCrash()}
	return []adapterCase{
		{name: "claims", needs: claims, test: testAdapterClaims},
		{name: "claims refuse", needs: claims, test: testAdapterClaimsRefuse},
		{name: "claim records", needs: claims, test: testAdapterClaimRecords},
		{name: "claim window", settings: AdapterSettings{Window: 8}, needs: claims, test: testAdapterClaimWindow},
		{name: "claim return", needs: claims, test: testAdapterClaimReturn},
		{name: "claim gaps", needs: claims, test: testAdapterClaimGaps},
		{name: "claim drain", settings: AdapterSettings{Drain: 10 * time.Second}, needs: claims, test: testAdapterClaimDrain},
		{name: "claim drain over", settings: AdapterSettings{Drain: 100 * time.Millisecond}, needs: claims, test: testAdapterClaimDrainOver},
		{name: "claim crash", settings: AdapterSettings{Crashes: true, Drain: 300 * time.Millisecond}, needs: crash, test: testAdapterClaimCrash},
		{name: "claim rebalance", settings: AdapterSettings{Drain: 10 * time.Second}, needs: claims, test: testAdapterClaimRebalance},
		{name: "claims side by side", settings: AdapterSettings{Order: adapters.Unordered}, needs: claims, test: testAdapterClaimConcurrent},
		{name: "follow", needs: []adapterNeed{needsOf[adapters.Follower]("Follower")}, test: testAdapterFollow},
		{name: "follow nothing", needs: []adapterNeed{needsOf[adapters.Follower]("Follower")}, test: testAdapterFollowNothing},
	}
}

// One Claim reads several topics, one own for each partition; what it finishes is done with for the
// group. Another group sees it all.
func testAdapterClaims(x *adapterTest) {
	topics := []string{x.topic(2), x.topic(1)}
	pub, group := x.publisher(), x.name("group")
	owners := []*adapterOwner{x.claim(group, topics...), x.claim(x.name("group"), topics...)}
	for _, o := range owners {
		x.await("owning every topic", func() bool {
			of := map[string]bool{}
			for _, c := range o.owned() {
				of[c.Topic()] = true
			}
			return len(of) == len(topics)
		})
	}
	want := map[string][]string{}
	var all []string
	for i, topic := range topics {
		ms := notes(20, fmt.Sprint("topic-", i), keyNames(10)...)
		x.publish(pub, topic, ms...)
		want[topic] = noteIDs(ms)
		all = append(all, want[topic]...)
	}
	for _, o := range owners {
		got := map[string][]string{}
		for range all {
			r := o.next("record of both topics")
			got[r.claim.Topic()] = append(got[r.claim.Topic()], r.ID)
			if r.Again != 0 || r.Err != nil || r.claim.Order() != x.settings.Order || r.claim.Context().Err() != nil {
				x.Fatalf("%s: again %d, error %v, order %v, context %v", r.ID, r.Again, r.Err, r.claim.Order(), r.claim.Context().Err())
			}
			r.finish()
			r.finish() // the second time says nothing new
		}
		for _, topic := range topics {
			x.same("claimed of "+topic, got[topic], want[topic])
			if len(got[topic]) != len(want[topic]) {
				x.Errorf("%d records are given out of %d messages", len(got[topic]), len(want[topic]))
			}
		}
		o.leave()
		for _, c := range o.owned() {
			if c.Context().Err() == nil {
				x.Errorf("the context of a claim on %s has not ended though Claim has returned", c.Topic())
			}
		}
	}
	var last []string
	for i, topic := range topics {
		ms := notes(10, fmt.Sprint("last-", i), keyNames(10)...)
		x.publish(pub, topic, ms...)
		last = append(last, noteIDs(ms)...)
	}
	x.same("claimed after everything was finished", x.claim(group, topics...).through(last...), last)
}

// What cannot be claimed is an error, and no own is called.
func testAdapterClaimsRefuse(x *adapterTest) {
	topic := x.topic(1)
	end := x.subscriber(AdapterReader{Group: x.name("group")})
	sub := x.claims(end)
	own := func(adapters.Claim) { x.Error("own is called by a Claim that is refused") }
	x.within("refused", func() {
		if err := sub.Claim(x.Context(), nil, own); err == nil {
			x.Error("a Claim of no topics gives no error")
		}
	})
	x.within("closed a subscriber", func() { _ = end.Close() })
	x.within("refused", func() {
		if err := sub.Claim(x.Context(), []string{topic}, own); !errors.Is(err, adapters.ErrClosed) {
			x.Errorf("Claim after Close gives %v; want adapters.ErrClosed", err)
		}
	})
}

// A record is the message: id, key, bytes, headers but the key; a nil payload stays nil, and one without
// a byte does not become it. A run is appended to, and must have room.
func testAdapterClaimRecords(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	full, empty, tomb := note("full", "key", "name", "value", "traceparent", adapterTraceparent), note("empty", "key"), note("tomb", "key")
	empty.Payload, tomb.Payload = []byte{}, nil
	x.publish(pub, topic, full, empty, tomb)
	var got []adapterRecord
	o := x.claim(x.name("group"), topic)
	got = o.take(3, "record")
	for i, id := range []string{"full", "empty", "tomb"} {
		r := got[i]
		if r.ID != id || r.Key != "key" || (r.Payload == nil) != (id == "tomb") || r.Headers.Get(channel.HeaderKey) != "" {
			x.Errorf("record %q, key %q, payload nil %t, key among the headers %t; want %q", r.ID, r.Key, r.Payload == nil, r.Headers.Get(channel.HeaderKey) != "", id)
		}
	}
	if r := got[0]; string(r.Payload) != "full" || r.Headers.Get("name") != "value" || r.Headers.Get("traceparent") != adapterTraceparent {
		x.Errorf("record full has payload %q, headers name=%q, traceparent=%q", r.Payload, r.Headers.Get("name"), r.Headers.Get("traceparent"))
	}
	headers := maps.Collect(got[0].Headers.All())
	if headers["name"] != "value" || headers["traceparent"] != adapterTraceparent {
		x.Errorf("All yields %v", headers)
	}
	if s, ok := got[0].Native.(fmt.Stringer); ok && s.String() == "" {
		x.Error("Native says where a record comes from, and that is nothing")
	}
	c := got[0].claim
	x.within("refused a run without room", func() {
		if _, err := c.Next(make([]*adapters.Record, 1)); err == nil {
			x.Error("Next with a run that has no room gives no error")
		}
	})
	for i := range got {
		got[i].finish()
	}
}

// Next waits while the window is full. Finishing the oldest record makes room.
func testAdapterClaimWindow(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	sent := notes(30, "m", keyNames(30)...)
	x.publish(pub, topic, sent...)
	o := x.claim(x.name("group"), topic)
	held := o.take(x.settings.Window, "record of a window")
	o.nothing("the window is full")
	oldest := slices.IndexFunc(held, func(r adapterRecord) bool { return r.ID == sent[0].UUID })
	if oldest < 0 {
		x.Fatal("the oldest record is not among those of the first window")
	}
	held[oldest].finish()
	held[oldest] = o.next("record, with room for one")
	o.nothing("the window is full again")
	for i := range held {
		held[i].finish()
	}
	for range len(sent) - len(held) - 1 {
		r := o.next("record, with room for all")
		r.finish()
	}
}

// A returned record comes again before what came after it under its key, and knows that it does. What
// came with it may be finished meanwhile.
func testAdapterClaimReturn(x *adapterTest) {
	topic, pub := x.topic(1), x.publisher()
	x.publish(pub, topic, notes(6, "m", "key")...)
	o := x.claim(x.name("group"), topic)
	rs := o.take(6, "record")
	for i := range rs {
		if i%2 == 0 {
			rs[i].finish()
		}
	}
	rs[3].back()
	rs[5].back()
	rs[1].back()
	for again := 1; again <= 2; again++ {
		rs = o.take(3, "returned record")
		for i, id := range []string{"m-1", "m-3", "m-5"} {
			if r := rs[i]; r.ID != id || r.Again != again {
				x.Fatalf("%s comes as number %d, delivered %d times before; want %s, %d times", r.ID, i, r.Again, id, again)
			}
		}
		if again == 1 {
			rs[2].back()
			rs[0].claim.Return([]*adapters.Record{rs[1].Record, rs[0].Record})
		}
	}
	for i := range rs {
		rs[i].finish()
	}
	x.publish(pub, topic, note("last", "key"))
	if got := o.through("last"); len(got) != 1 {
		x.Errorf("%v come; all but the last were finished", got)
	}
}

// An owner that lets go has finished some and not others, in any order. Who owns the partition next gets what is not
// finished, and knows that it may have been delivered; and what came later. So does who comes after that.
func testAdapterClaimGaps(x *adapterTest) {
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, topic, notes(8, "m", "key")...)
	for i, own := range []struct {
		get, finish []string
	}{
		{get: []string{"m-0", "m-1", "m-2", "m-3", "m-4", "m-5", "m-6", "m-7"}, finish: []string{"m-0", "m-2", "m-3", "m-5", "m-6"}},
		{get: []string{"m-1", "m-4", "m-7"}},
		{get: []string{"m-1", "m-4", "m-7"}, finish: []string{"m-7"}},
		{get: []string{"m-1", "m-4"}, finish: []string{"m-1"}},
		{get: []string{"m-4"}, finish: []string{"m-4"}},
	} {
		o := x.claim(group, topic)
		for _, id := range own.get {
			r := o.next("record " + id)
			if r.ID != id || r.Redelivered() != (i > 0) {
				x.Fatalf("owner %d: %s comes, redelivered: %v; want %s, redelivered: %v", i, r.ID, r.Redelivered(), id, i > 0)
			}
			if slices.Contains(own.finish, id) {
				r.finish()
			}
		}
		o.nothing("all else is finished, or out")
		o.leave()
	}
	x.publish(pub, topic, note("last", "key"))
	if got := x.claim(group, topic).through("last"); len(got) != 1 {
		x.Errorf("%v come; all but the last were finished", got)
	}
}
