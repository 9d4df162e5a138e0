package kafka

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// Owners of one partition come, work in any order, return some of what they have, shown or not, and are killed, let go, or
// told that what they say is too long. What one has finished and said so is left out by all after it, nothing else is, and
// whatever comes again is known to. Breaks if a gap is counted as finished; if a note does not carry over what the one
// before has said, or counts what is left out.
func TestNotes(t *testing.T) {
	for seed := range leattest.Seeds(t, 300) {
		testNotes(t, seed)
	}
}

func testNotes(t *testing.T, seed uint64) {
	defer func() {
		if t.Failed() {
			t.Log(leattest.Replay(t, seed))
		}
	}()
	rnd := rand.New(rand.NewPCG(seed, 0))
	var log []int64 // offsets, with gaps
	for at := int64(rnd.IntN(100)); len(log) < 200; at += 1 + int64(rnd.IntN(3)*rnd.IntN(2)) {
		log = append(log, at)
	}
	last := refusal{from: log[len(log)-1] + 1, end: log[len(log)-1] + 6} // cannot be read, and is one record
	log = append(log, last.from)
	var (
		offset, metadata = log[0], ""
		shown, done      = map[int64]bool{}, map[int64]bool{}
		conf             = &SubscriberConfig{Window: 16 + rnd.IntN(64), WindowBytes: 1 << 20, DrainTimeout: time.Minute}
	)
	for owner := 0; offset < last.end; owner++ {
		if owner > 10_000 {
			t.Fatalf("after %d owners offset %d is committed, of %d", owner, offset, last.end)
		}
		c := newClaim(t.Context(), conf, nobody{}, nil, "topic", 0, offset)
		if rnd.IntN(4) == 0 {
			c.listing = rnd.UintN(40)
		}
		for _, at := range log {
			if at >= offset && at < last.from {
				c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: at})
			}
		}
		c.refused = new(last)
		covered, _ := readNote(metadata)
		out := islands{offset, covered.done} // what this owner is to leave out
		c.heed(metadata)
		c.stage = inherited
		commit := func() {
			to, ok := c.uncommitted()
			if !ok {
				return
			}
			if offset, metadata = to.offset, to.note; len(metadata) > 4096 {
				t.Fatalf("a note of %d bytes", len(metadata))
			}
			said, ok := readNote(metadata)
			for _, at := range log {
				if is := at < offset || (islands{offset, said.done}).has(at); is && !done[at] || !ok {
					t.Fatalf("owner %d says that %d is finished, by offset %d and %q: it is not", owner, at, offset, metadata)
				}
			}
			c.commit(to)
		}
		commit()
		var held []*adapters.Record
		seen := map[int64]bool{} // of this owner
		see := func(r *adapters.Record) {
			at := r.Native.(*delivery).msg.Offset
			seen[at], shown[at] = true, true
		}
		for range rnd.IntN(12) {
			switch rnd.IntN(4) {
			case 0, 1:
				ds, _ := c.take(1 + rnd.IntN(20))
				for i := range ds {
					at, again := ds[i].msg.Offset, ds[i].rec.Redelivered()
					if out.has(at) && (at != last.from || !again) {
						t.Fatalf("owner %d gets %d, and an owner before has said that it is finished", owner, at)
					}
					if shown[at] && !again {
						t.Fatalf("owner %d gets %d again, and is not told", owner, at)
					}
					ds[i].rec.Native = &ds[i]
					held = append(held, &ds[i].rec)
				}
				for _, r := range held { // but for some that it may return as unseen
					if rnd.IntN(8) > 0 {
						see(r)
					}
				}
			case 2:
				rnd.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
				n := rnd.IntN(len(held) + 1)
				for _, r := range held[:n] {
					see(r)
					done[r.Native.(*delivery).msg.Offset] = true
				}
				c.Finish(held[:n])
				held = held[n:]
			default:
				commit()
			}
		}
		if rnd.IntN(3) == 0 { // it is killed: what it has not returned may have been shown
			continue
		}
		c.stop(channel.ErrStopped)
		for _, r := range held {
			r.Unseen = !seen[r.Native.(*delivery).msg.Offset]
		}
		c.Return(held)
		c.settleUp()
		if rnd.IntN(8) == 0 {
			for range 16 {
				c.sayLess()
			}
			if to, _ := c.uncommitted(); strings.Contains(to.note, noteDone) {
				t.Fatalf("an owner that is to say less and less says %q", to.note)
			}
		}
		commit()
	}
	for _, at := range log {
		if !done[at] {
			t.Errorf("offset %d is lost", at)
		}
	}
}

// A note is read as it was written; what others write in its place says nothing, and what cannot be read the most it could:
// whatever was delivered is marked, and nothing is left out. Breaks if a note is believed that is not whole.
func TestReadNote(t *testing.T) {
	const window = 16
	for metadata, want := range map[string]struct {
		out  uint64
		done string
	}{
		"": {}, "someone else's": {}, " leat-out:3": {},
		"leat-out:3": {out: 3}, "leat-out:3 done:Ag": {out: 3, done: "10"}, "leat-out:0 done:AQA": {done: "100000000"},
		"leat-out:": {out: window}, "leat-out:-1": {out: window}, "leat-out:3 ": {out: window}, "leat-out:99999999999999": {out: window},
		"leat-out:3 done:A": {out: window}, "leat-out:3 done:Ag==": {out: window}, "leat-out:3 done:?": {out: window}, "leat-out: done:Ag": {out: window},
		"leat-out:3 done:": {out: 3, done: "0"},
	} {
		c := newClaim(t.Context(), &SubscriberConfig{Window: window}, nobody{}, nil, "topic", 0, 7)
		c.heed(metadata)
		done := ""
		if c.past.bits != nil {
			done = c.past.bits.Text(2)
		}
		if c.doubtful != want.out || done != want.done || done != "" && c.past.from != 7 {
			t.Errorf("%q: %d may have been delivered, %q is finished; want %d, %q", metadata, c.doubtful, done, want.out, want.done)
		}
		if n, ok := readNote(metadata); ok && strings.HasPrefix(metadata, noteOut) && done != "0" && n.String() != metadata {
			t.Errorf("%q is written as %q", metadata, n)
		}
	}
}

// Whoever moves a group's offsets, be it to where they are, has it all again. Breaks if what was finished is remembered.
func TestMovedOffsets(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 1)
	c.publish(ids("m", 6)...)
	work := func(_ adapters.Claim, _ []*adapters.Record) bool { return false }
	c.is(c.own(6, func(x adapters.Claim, rs []*adapters.Record) bool {
		x.Finish([]*adapters.Record{rs[0], rs[2], rs[4], rs[5]})
		return false
	}), ids("m", 6)...)
	c.is(c.own(2, work), "m-1", "m-3")
	c.moveTo(1)
	c.is(c.own(5, work), ids("m", 6)[1:]...)
	c.moveTo(0)
	c.is(c.own(6, work), ids("m", 6)...)
}

// What was finished behind an offset whose records are deleted is not looked for behind another one. Breaks if a note counts
// where it was not committed: then what nobody has seen is left out.
func TestDeletedBeforeANote(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 1)
	c.publish(ids("m", 10)...)
	c.is(c.own(6, func(x adapters.Claim, rs []*adapters.Record) bool {
		x.Finish([]*adapters.Record{rs[0], rs[2], rs[4], rs[5]})
		return false
	}), ids("m", 6)...)
	c.delete(3)
	c.is(c.own(7, func(adapters.Claim, []*adapters.Record) bool { return false }), ids("m", 10)[3:]...)
}

// Records are deleted before a group has read them. It goes on at the oldest there is, wherever a group begins that has
// committed nothing, and says that it has missed some. Breaks if Start decides: with Newest it skips what is still there.
func TestOvertakenByRetention(t *testing.T) {
	for name, start := range map[string]Start{"oldest": Oldest, "newest": Newest} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, kafkatest.Shared(t).Addr(), 1)
			var said bytes.Buffer
			c.publish(ids("m", 10)...)
			c.is(c.own(2, func(x adapters.Claim, rs []*adapters.Record) bool {
				x.Finish(rs)
				return false
			}), ids("m", 2)...)
			c.delete(5)
			c.change = func(s *SubscriberConfig) {
				s.Start, s.Cluster.Logger = start, slog.New(slog.NewTextHandler(&said, nil))
			}
			c.is(c.own(5, func(adapters.Claim, []*adapters.Record) bool { return false }), ids("m", 10)[5:]...)
			if n := strings.Count(said.String(), "may have been deleted before they were read"); n != 1 || !strings.Contains(said.String(), "committed=2 oldest=5") {
				t.Errorf("of what is missed %d lines are logged, want 1, with both offsets: %s", n, said.String())
			}
		})
	}
}

// client is one of the client's own, for the time of the test.
func (c *crowd) client() sarama.Client {
	c.t.Helper()
	s := sarama.NewConfig()
	s.Version = sarama.V3_0_0_0
	client, err := sarama.NewClient([]string{c.addr}, s)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// delete deletes what is before an offset.
func (c *crowd) delete(before int64) {
	c.t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(c.client())
	if err != nil {
		c.t.Fatal(err)
	}
	if err := admin.DeleteRecords(c.topic, map[int32]int64{0: before}); err != nil {
		c.t.Fatal(err)
	}
}

// moveTo moves the group's offset, which nobody is in.
func (c *crowd) moveTo(offset int64) {
	c.t.Helper()
	client := c.client()
	c.until("the offset is moved", func() bool { // a named member is in the group until its session is over
		admin, err := sarama.NewClusterAdminFromClient(client)
		if err != nil {
			c.t.Fatal(err)
		}
		if _, err = admin.RemoveMemberFromConsumerGroup(c.topic, []string{"x"}); err != nil {
			c.t.Fatal(err)
		}
		broker, err := client.Coordinator(c.topic)
		if err != nil {
			c.t.Fatal(err)
		}
		req := sarama.NewOffsetCommitRequest(client.Config(), c.topic)
		req.ConsumerGroupGeneration = -1
		req.AddBlockWithLeaderEpoch(c.topic, 0, offset, -1, 0, "")
		resp, err := broker.CommitOffset(req)
		return err == nil && resp.Errors[c.topic][0] == sarama.ErrNoError
	})
}

// nobody owns a claim that belongs to no member.
type nobody struct{}

func (nobody) finished(*claim, uint64) {}
func (nobody) arrived(*claim)          {}
func (nobody) overdue(*claim)          {}
func (nobody) restart()                {}

// own claims the crowd's topic, by a name that expels the owner before, has f work on the first records that it gets, n of
// them one by one, and ends by f's answer: it lets go, or stays until it is expelled.
func (c *crowd) own(n int, f func(x adapters.Claim, rs []*adapters.Record) (stay bool)) (got []string) {
	c.t.Helper()
	conf := SubscriberConfig{
		Cluster: Cluster{Brokers: []string{c.addr}}, Group: c.topic, Instance: "x", HeartbeatInterval: 50 * time.Millisecond,
		CommitInterval: 10 * time.Millisecond,
	}
	if c.change != nil {
		c.change(&conf)
	}
	s, err := NewSubscriber(conf)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	worked, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Claim(ctx, []string{c.topic}, func(x adapters.Claim) {
			var rs []*adapters.Record
			for len(rs) < n {
				r, err := x.Next(make([]*adapters.Record, 0, 1))
				if err != nil {
					break
				}
				rs = append(rs, r...)
			}
			stay := f(x, rs)
			for _, r := range rs {
				got = append(got, r.ID)
			}
			if stay {
				close(worked)
				<-x.Context().Done()
			}
			cancel()
		})
	}()
	c.t.Cleanup(func() { cancel(); <-ended; _ = s.Close() })
	select {
	case <-worked:
	case <-ended:
	case <-time.After(30 * time.Second):
		c.t.Fatalf("not %d records within 30s", n)
	}
	return got
}

// is fails unless an owner got these.
func (c *crowd) is(got []string, want ...string) {
	c.t.Helper()
	if !slices.Equal(got, want) {
		c.t.Fatalf("an owner gets %v, want %v", got, want)
	}
}

// A transaction commits up to where there is something to do again: what the owner before has finished is not part of it,
// and comes to nobody any more. Breaks if the note of a transaction forgets what that has said.
func TestTransactBehindAGap(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 1)
	c.publish(ids("m", 8)...)
	out := kafkatest.Topic(t, c.addr, 1)
	transact := func(x adapters.Claim, r *adapters.Record) {
		p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{c.addr}}, TransactionalID: c.topic})
		if err != nil {
			t.Error(err)
			return
		}
		if err := p.Transact(t.Context(), []adapters.Finished{{Claim: x, Records: []*adapters.Record{r}}},
			[]*adapters.Outgoing{{Topic: out, ID: r.ID}}); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	}
	c.is(c.own(7, func(x adapters.Claim, rs []*adapters.Record) bool {
		x.Finish([]*adapters.Record{rs[1], rs[2], rs[4], rs[6]})
		return false
	}), ids("m", 7)...)
	c.is(c.own(3, func(x adapters.Claim, rs []*adapters.Record) bool {
		transact(x, rs[0])
		return true
	}), "m-0", "m-3", "m-5")
	c.is(c.own(3, func(x adapters.Claim, rs []*adapters.Record) bool {
		transact(x, rs[0])
		x.Finish(rs[2:])
		return false
	}), "m-3", "m-5", "m-7")
	c.publish("m-8")
	c.is(c.own(2, func(x adapters.Claim, rs []*adapters.Record) bool {
		transact(x, rs[1])
		return false
	}), "m-5", "m-8")
}

// A broker that takes short notes only gets them: what is finished is committed, and what does not go into the note comes
// again, known to. Breaks if a note that is refused is sent again as it is: nothing is committed any more.
func TestNoteTooLong(t *testing.T) {
	const (
		all  = 1000
		room = 60
	)
	fake := kafkatest.Fake(t)
	var refused atomic.Int32
	refuseCommits(fake, kerr.OffsetMetadataTooLarge, func(p kmsg.OffsetCommitRequestTopicPartition) bool {
		long := p.Metadata != nil && len(*p.Metadata) > room
		if long {
			refused.Add(1)
		}
		return long
	})
	c := newCrowd(t, kafkatest.Addr(fake), 1)
	c.publish(ids("m", all)...)
	first := c.own(all, func(x adapters.Claim, rs []*adapters.Record) bool {
		x.Finish(rs[:100])
		for i := 101; i < all; i += 2 {
			x.Finish(rs[i : i+1])
		}
		return false
	})
	c.is(first, ids("m", all)...)
	again := c.own((all-100)/2, func(_ adapters.Claim, rs []*adapters.Record) bool {
		for _, r := range rs {
			if !r.Redelivered() {
				t.Errorf("%s comes again, and is not known to", r.ID)
			}
		}
		return false
	})
	if refused.Load() == 0 || again[0] != "m-100" || again[1] != "m-102" || again[len(again)-1] == "m-998" {
		t.Errorf("%d notes were refused; then come %v", refused.Load(), again)
	}
}

// refuseCommits has a broker refuse some commits of offsets, each of one partition.
func refuseCommits(fake *kfake.Cluster, because *kerr.Error, some func(kmsg.OffsetCommitRequestTopicPartition) bool) {
	fake.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req, resp := r.(*kmsg.OffsetCommitRequest), r.ResponseKind().(*kmsg.OffsetCommitResponse)
		p := req.Topics[0].Partitions[0]
		if !some(p) {
			return nil, nil, false //nolint:nilnil // The fake answers by itself.
		}
		resp.Topics = []kmsg.OffsetCommitResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.OffsetCommitResponseTopicPartition{
			{Partition: p.Partition, ErrorCode: because.Code},
		}}}
		return resp, nil, true
	})
}
