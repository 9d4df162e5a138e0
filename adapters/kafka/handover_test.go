package kafka

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// An owner that is expelled leaves its window in doubt, one that lets go what it has shown and not finished, one that has
// finished everything nothing. Breaks if a commit does not say what is out, or an owner forgets what it has inherited.
func TestDoubtful(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 1)
	all := ids("m", 20)
	c.publish(all...)
	const window = 8
	// own is an owner of the partition, by a name that expels the one before. It gets so many records, finishes the
	// first of them, works until it is told to let go, or is expelled, and returns the last as unseen.
	type owner struct {
		got   []*adapters.Record
		leave func()
	}
	own := func(get, finish, unseen int) *owner {
		t.Helper()
		s, err := NewSubscriber(SubscriberConfig{
			Cluster: Cluster{Brokers: []string{c.addr}}, Group: c.topic, Instance: "x", Window: window, Order: adapters.Unordered,
			HeartbeatInterval: 50 * time.Millisecond, DrainTimeout: 100 * time.Millisecond, CommitInterval: 10 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		o, has, ended := &owner{}, make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(ended)
			_ = s.Claim(ctx, []string{c.topic}, func(x adapters.Claim) {
				for len(o.got) < get {
					run, err := x.Next(make([]*adapters.Record, 0, get-len(o.got)))
					if err != nil {
						t.Error(err)
						break
					}
					o.got = append(o.got, run...)
					x.Finish(o.got[min(len(o.got)-len(run), finish):min(len(o.got), finish)])
				}
				c.until("what is finished is committed", func() bool {
					to, more := x.(*claim).uncommitted()
					return !more && to.n == uint64(finish)
				})
				close(has)
				select {
				case <-ctx.Done():
				case <-x.Context().Done():
				}
				x.Return(adapters.Unseen(o.got[len(o.got)-unseen:]))
			})
		}()
		o.leave = func() { cancel(); <-ended; _ = s.Close() }
		t.Cleanup(o.leave)
		<-has
		return o
	}
	is := func(o *owner, first, doubtful int) {
		t.Helper()
		for i := range o.got {
			if r := o.got[i]; r.ID != fmt.Sprint("m-", first+i) || r.Doubtful != (i < doubtful) || r.Redelivered() != r.Doubtful {
				t.Errorf("number %d is %s, doubtful: %v; want m-%d, and the first %d doubtful", i, r.ID, r.Doubtful, first+i, doubtful)
			}
		}
	}
	is(own(window, 3, 0), 0, 0) // m-0 to m-7, to m-2 finished; m-8 to m-10 may be out; then it is expelled
	second := own(window, 2, 0) // from m-3: as many as the first could have had
	is(second, 3, window)
	third := own(window+2, 4, 0) // from m-5, for the second was expelled, too
	is(third, 5, window)
	third.leave() // it lets go: m-9 to m-14 are not finished, and nothing else is out
	fourth := own(window, 6, 0)
	is(fourth, 9, 6)
	fourth.leave() // m-15 and m-16 are not finished
	fifth := own(5, 5, 0)
	is(fifth, 15, 2)
	fifth.leave() // all is finished
	c.publish("m-20", "m-21", "m-22")
	sixth := own(3, 0, 2)
	is(sixth, 20, 0)
	sixth.leave() // nobody has seen m-21 and m-22
	is(own(3, 0, 0), 20, 1)
}

// What was committed after the client had asked where to begin is not worked on again, and no commit goes back behind it: a
// transaction that was under way then, whose end a client that reads uncommitted does not wait for. Breaks if only a beginning that is too late is put right.
func TestCommittedMeanwhile(t *testing.T) {
	fake := kafkatest.Fake(t)
	c := newCrowd(t, kafkatest.Addr(fake), 1)
	c.publish(ids("m", 10)...)
	var mu sync.Mutex
	settled := int64(0)
	var commits []int64
	fake.ControlKey(int16(kmsg.OffsetFetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		req := r.(*kmsg.OffsetFetchRequest)
		if req.RequireStable { // who asks so waits for the transaction
			settled = 5
		}
		resp, rt, rp := req.ResponseKind().(*kmsg.OffsetFetchResponse), kmsg.NewOffsetFetchResponseTopic(), kmsg.NewOffsetFetchResponseTopicPartition()
		rt.Topic, rp.Offset, rp.LeaderEpoch = c.topic, settled, -1
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	fake.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		commits = append(commits, r.(*kmsg.OffsetCommitRequest).Topics[0].Partitions[0].Offset)
		return nil, nil, false //nolint:nilnil // The fake answers by itself.
	})
	s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{c.addr}}, Group: c.topic, ReadUncommitted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first := ""
	if err := s.Claim(ctx, []string{c.topic}, func(x adapters.Claim) {
		if run, err := x.Next(make([]*adapters.Record, 0, 1)); err == nil {
			first = run[0].ID
			cancel()
		}
	}); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if first != "m-5" || len(commits) == 0 || slices.Min(commits) < 5 {
		t.Errorf("the first is %s, and offsets %v are committed; want m-5, and none before 5", first, commits)
	}
}

// One message that hangs longer than DrainTimeout is all that comes again: its neighbours are finished. Breaks if a claim is
// lost before what is finished behind a gap is said.
func TestOneOutlastsTheDrain(t *testing.T) {
	c := newCrowd(t, kafkatest.Addr(kafkatest.Fake(t)), 1)
	const all = 100
	c.publish(ids("m", all)...)
	for _, hangs := range []bool{true, false} {
		s, err := NewSubscriber(SubscriberConfig{
			Cluster: Cluster{Brokers: []string{c.addr}}, Group: c.topic, DrainTimeout: 100 * time.Millisecond, Order: adapters.Unordered,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		want, got := all, []*adapters.Record(nil)
		if !hangs {
			want = 2
			c.publish("last")
		}
		if err := s.Claim(ctx, []string{c.topic}, func(x adapters.Claim) {
			for len(got) < want {
				run, err := x.Next(make([]*adapters.Record, 0, want))
				if err != nil {
					t.Errorf("%d of %d records have come: %v", len(got), want, err)
					return
				}
				got = append(got, run...)
			}
			cancel()
			if hangs {
				x.Finish(got[1:])
				<-x.Context().Done()
				return
			}
			x.Finish(got)
		}); err != nil {
			t.Error(err)
		}
		cancel()
		_ = s.Close()
		if !hangs && (got[0].ID != "m-0" || !got[0].Doubtful || got[1].ID != "last") {
			t.Errorf("%s (doubtful %t) comes, then %s; want m-0, which was out, then last", got[0].ID, got[0].Doubtful, got[1].ID)
		}
	}
}
