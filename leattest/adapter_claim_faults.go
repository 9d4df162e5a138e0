package leattest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// When the context of Claim ends no more is given out; what was stays owned, and can be finished, until
// own returns. What is not is delivered again.
func testAdapterClaimDrain(x *adapterTest) {
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, topic, notes(10, "m", keyNames(10)...)...)
	o := x.claim(group, topic)
	held := o.take(10, "record")
	o.end()
	for _, err := range o.readers() {
		if err == nil {
			x.Error("Next ends without an error")
		}
	}
	if err := held[0].claim.Context().Err(); err != nil {
		x.Fatalf("the claim ends before its own has returned, and before DrainTimeout: %v", err)
	}
	select {
	case <-o.done:
		x.Fatal("Claim returns before own")
	default:
	}
	var open []string
	for i := range held {
		switch i % 3 {
		case 0:
			held[i].finish()
		case 1:
			held[i].back()
			open = append(open, held[i].ID)
		case 2:
			open = append(open, held[i].ID)
		}
	}
	o.leave()
	last := notes(10, "last", keyNames(10)...)
	x.publish(pub, topic, last...)
	x.contains(x.claim(group, topic), open, last, held)
}

// contains checks what a later claim gets: what was open, not lost; the finished at most once more, where
// a gap is before it; and then the last.
func (x *adapterTest) contains(o *adapterOwner, open []string, last []*message.Message, held []adapterRecord) {
	x.Helper()
	got := o.through(slices.Concat(open, noteIDs(last))...)
	seen := map[string]bool{}
	for _, id := range got {
		known := slices.Contains(open, id) || slices.Contains(noteIDs(last), id) ||
			slices.ContainsFunc(held, func(r adapterRecord) bool { return r.ID == id })
		if seen[id] || !known {
			x.Errorf("%s comes again, and is acknowledged or unknown", id)
		}
		seen[id] = true
	}
}

// An own that outstays DrainTimeout loses its claim, with a cause, and what it says then does not count.
func testAdapterClaimDrainOver(x *adapterTest) {
	topic, pub, group := x.topic(1), x.publisher(), x.name("group")
	x.publish(pub, topic, note("kept", ""))
	o := x.claim(group, topic)
	kept := o.next("record")
	o.end()
	x.ended("ended a claim whose own outstays DrainTimeout", kept.claim.Context().Done())
	if cause := context.Cause(kept.claim.Context()); !errors.Is(cause, channel.ErrStopped) {
		x.Errorf("the cause is %v; want channel.ErrStopped", cause)
	}
	kept.finish()
	next := x.claim(group, topic)
	r := next.next("record that was kept too long")
	kept.finish() // it is another's now, who gives it back
	r.back()
	if got := next.through("kept"); len(got) != 1 {
		x.Errorf("%v come", got)
	}
}

// A member vanishes that has finished some records out of order. What it has not finished comes again.
func testAdapterClaimCrash(x *adapterTest) {
	topic, pub, group := x.topic(2), x.publisher(), x.name("group")
	sent := notes(40, "m", keyNames(20)...)
	x.publish(pub, topic, sent...)
	o := x.claim(group, topic)
	held := o.take(len(sent), "record")
	var open []string
	for i := range slices.Backward(held) {
		if i%7 == 3 {
			open = append(open, held[i].ID)
			continue
		}
		held[i].finish()
	}
	x.env.Crash(o.sub)
	next := x.claim(group, topic)
	x.ended("ended a claim whose member vanished", held[0].claim.Context().Done())
	last := notes(20, "last", keyNames(20)...)
	x.publish(pub, topic, last...)
	x.contains(next, open, last, held)
}

// Members claim and let go while records are in flight, finished out of order: nothing is lost, and
// nothing finished comes again.
func testAdapterClaimRebalance(x *adapterTest) {
	const rounds, each = 6, 32
	topic, pub, group := x.topic(4), x.publisher(), x.name("group")
	var books Ledger
	var members sync.WaitGroup
	var mu sync.Mutex
	done := map[string]bool{}
	through := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(done)
	}
	own := func(c adapters.Claim) {
		for {
			rs, err := c.Next(make([]*adapters.Record, 0, 16))
			pass(c.Context(), time.Millisecond) // work takes time
			if c.Context().Err() != nil {
				return
			}
			for i := range rs {
				mu.Lock()
				done[rs[i].ID] = true
				mu.Unlock()
				books.Effect(rs[i].ID)
			}
			for i := range slices.Backward(rs) {
				c.Finish(rs[i : i+1])
			}
			if err != nil {
				return
			}
		}
	}
	join := func() context.CancelFunc {
		sub := x.claims(x.subscriber(AdapterReader{Group: group}))
		ctx, end := context.WithCancel(context.WithoutCancel(x.Context()))
		members.Go(func() {
			if err := sub.Claim(ctx, []string{topic}, own); err != nil {
				x.Errorf("Claim gives %v", err)
			}
		})
		return end
	}
	ends := []context.CancelFunc{join()}
	for round := range rounds {
		x.publish(books.Publisher(pub), topic, notes(each, fmt.Sprint("round-", round), keyNames(16)...)...)
		switch round {
		case 1, 2, 4:
			ends = append(ends, join())
		case 3, 5:
			ends[0]()
			ends = ends[1:]
		}
		x.await(fmt.Sprintf("through with half of round %d", round), func() bool { return through() >= (2*round+1)*each/2 })
	}
	x.await("through with everything", func() bool { return through() == rounds*each })
	for _, end := range ends {
		end()
	}
	x.within("ended every claim", members.Wait)
	if v := books.Verdict(); !v.Zero() {
		x.Errorf("members that claim and let go: %v", v)
	}
}

// The methods of a claim may be called by many at once.
func testAdapterClaimConcurrent(x *adapterTest) {
	const messages = 300
	topic, pub := x.topic(1), x.publisher()
	x.publish(pub, topic, notes(messages, "m", "")...)
	sub := x.claims(x.subscriber(AdapterReader{Group: x.name("group")}))
	ctx, end := context.WithCancel(context.WithoutCancel(x.Context()))
	defer end()
	var mu sync.Mutex
	finished := map[string]int{}
	claimed := make(chan struct{})
	go func() {
		defer close(claimed)
		if err := sub.Claim(ctx, []string{topic}, func(c adapters.Claim) {
			var all sync.WaitGroup
			for range 6 {
				all.Go(func() {
					for {
						rs, err := c.Next(make([]*adapters.Record, 0, 5))
						for i := range rs {
							if rs[i].Again == 0 && i%5 == 4 {
								c.Return(rs[i : i+1])
								continue
							}
							mu.Lock()
							finished[rs[i].ID]++
							n, times := len(finished), finished[rs[i].ID]
							mu.Unlock()
							c.Finish(rs[i : i+1])
							if n == messages || times > 1 {
								end()
							}
						}
						if err != nil {
							return
						}
					}
				})
			}
			all.Wait()
		}); err != nil {
			x.Errorf("Claim gives %v", err)
		}
	}()
	x.ended("through with everything", claimed)
	for id, n := range finished {
		if n > 1 {
			x.Errorf("%s is given out again after it was finished", id)
		}
	}
}
