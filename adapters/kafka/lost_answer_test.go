package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A scissors cuts connections at requests of one kind.
type scissors struct {
	key   uint16
	pass  atomic.Int32 // how many come through
	lose  atomic.Int32 // how many answers do not
	seen  atomic.Int32
	lost  atomic.Int32
	first chan struct{} // closed with the first such request
}

const (
	produceKey = 0
	endTxnKey  = 26
)

func newScissors(key uint16, pass int32) *scissors {
	s := &scissors{key: key, first: make(chan struct{})}
	s.pass.Store(pass)
	return s
}

var errSnip = errors.New("the line was cut")

func (s *scissors) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &snipped{Conn: c, by: s}, nil
}

type snipped struct {
	net.Conn
	by   *scissors
	deaf atomic.Bool // its next answer is lost
}

func (c *snipped) Write(b []byte) (int, error) {
	if len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == c.by.key {
		n := c.by.seen.Add(1)
		if n == 1 {
			close(c.by.first)
		}
		if n > c.by.pass.Load() {
			_ = c.Close()
			return 0, errSnip
		}
		if c.by.lose.Add(-1) >= 0 {
			c.deaf.Store(true)
		}
	}
	return c.Conn.Write(b)
}

func (c *snipped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.deaf.CompareAndSwap(true, false) {
		c.by.lost.Add(1)
		_ = c.Close()
		return 0, errSnip
	}
	return n, err
}

// A half is a partition of the topic that a transaction is about, with all its records.
type half struct {
	claim *claim
	run   []*adapters.Record
}

// halves publishes n messages to each partition of a topic of two, and claims both until the test ends.
func halves(t *testing.T, addr string, n int) (both [2]half) {
	t.Helper()
	topic := kafkatest.Topic(t, addr, 2)
	c := Cluster{Brokers: []string{addr}}
	// A claim that is lost ends the session; the other is to outlast a transaction whose answer nobody gives.
	s, err := NewSubscriber(SubscriberConfig{Cluster: c, Group: topic, DrainTimeout: 50 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	got, ctx := make(chan half, 2), t.Context()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		ended <- s.Claim(ctx, []string{topic}, func(c adapters.Claim) {
			h := half{claim: c.(*claim)}
			for len(h.run) < n {
				run, err := c.Next(make([]*adapters.Record, 0, n-len(h.run)))
				if err != nil {
					return
				}
				h.run = append(h.run, run...)
			}
			got <- h
			<-ctx.Done()
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = s.Close()
	})
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 2 * n {
		r := &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(fmt.Sprintf("%d/%d", i%2, i/2))}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for range both {
		h := <-got
		both[h.claim.partition] = h
	}
	return both
}

// relay gives what a transaction is to publish for records.
func relay(out string, run []*adapters.Record) (outs []*adapters.Outgoing) {
	for i := range run {
		outs = append(outs, &adapters.Outgoing{Topic: out, ID: string(run[i].Payload), Payload: run[i].Payload})
	}
	return outs
}

// committedOn gives how often each payload is on a topic, for readers of what is committed. A last message, put
// there by hand, tells that there is no more.
func committedOn(t *testing.T, addr, topic string) map[string]int {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("end")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for all["end"] == 0 {
		client.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) { all[string(r.Value)]++ })
	}
	delete(all, "end")
	return all
}

// The answer to a commit is lost. Whether the transaction was committed is found out: then it is not repeated; or
// it was aborted: then nothing is finished, and it can be tried again. Breaks if either is taken for the other.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, committed := range map[string]bool{"committed": true, "aborted": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := kafkatest.Addr(kafkatest.Fake(t))
			both := halves(t, addr, 5)
			out := kafkatest.Topic(t, addr, 1)
			cut := newScissors(endTxnKey, 0)
			cut.lose.Store(math.MaxInt32)
			if committed {
				cut.pass.Store(1)
			}
			p := cutPublisher(t, addr, cut)
			finished := []adapters.Finished{{Claim: both[0].claim, Records: both[0].run}, {Claim: both[1].claim, Records: both[1].run}}
			outs := relay(out, append(both[0].run[:5:5], both[1].run...))
			err := p.Transact(t.Context(), finished, outs)
			if (err == nil) != committed || errors.Is(err, adapters.ErrLost) {
				t.Fatalf("a transaction that was %s: %v", name, err)
			}
			if !committed {
				cut.pass.Store(math.MaxInt32)
				if err := p.Transact(t.Context(), finished, outs); err == nil {
					t.Log("again: committed")
				} else if err := p.Transact(t.Context(), finished, outs); err != nil { // its first answer is lost, too
					t.Fatal(err)
				}
			}
			all := committedOn(t, addr, out)
			for id, n := range all {
				if n != 1 {
					t.Errorf("%s is there %d times", id, n)
				}
			}
			if len(all) != 10 {
				t.Errorf("%d messages are there, want 10", len(all))
			}
			for _, h := range both {
				if to, _ := h.claim.uncommitted(); to.n != 5 {
					t.Errorf("%d records of partition %d are finished", to.n, h.claim.partition)
				}
			}
		})
	}
}

// A late has the first EndTxn overtaken: its connection breaks, and it arrives before the third.
type late struct {
	t    *testing.T
	addr string

	mu   sync.Mutex
	seen int
	kept []byte
}

func (l *late) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &lateConn{c, l}, nil
}

type lateConn struct {
	net.Conn

	by *late
}

func (c *lateConn) Write(b []byte) (int, error) {
	if len(b) <= 6 || binary.BigEndian.Uint16(b[4:]) != endTxnKey {
		return c.Conn.Write(b)
	}
	l := c.by
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.seen++; l.seen {
	case 1:
		l.kept = slices.Clone(b)
		_ = c.Close()
		return len(b), nil
	case 3:
		l.deliver()
	}
	return c.Conn.Write(b)
}

// deliver sends the broker what was kept, and waits for its answer.
func (l *late) deliver() {
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer func() { _ = c.Close() }()
	size := make([]byte, 4)
	if _, err = c.Write(l.kept); err == nil {
		_, err = io.ReadFull(c, size)
	}
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, binary.BigEndian.Uint32(size)))
	}
	if err != nil {
		l.t.Error(err)
	}
}

// A commit is asked for twice, since the first answer is lost, and the first request arrives when the next transaction is to be
// aborted. Breaks if that has the identity of the one before: then half of it is committed.
func TestALateCommitReachesNoOtherTransaction(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	l := &late{t: t, addr: addr}
	p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{addr}, Dial: l.dial}, TransactionalID: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := p.Transact(t.Context(), nil, some(topic)); err != nil {
		t.Fatal(err)
	}
	outs := []*adapters.Outgoing{{Topic: topic, ID: "3", Payload: []byte("3")}, {Topic: "nowhere", ID: "4"}}
	if err := p.Transact(t.Context(), nil, outs); !errors.Is(err, ErrNoTopic) {
		t.Fatalf("a transaction with a message for a topic that is not there: %v", err)
	}
	if err := p.Transact(t.Context(), nil, outs[:1]); err != nil {
		t.Fatal(err)
	}
	all := committedOn(t, addr, topic)
	for _, id := range []string{"1", "2", "3"} {
		if all[id] != 1 {
			t.Errorf("%s is there %d times", id, all[id])
		}
	}
	if l.seen < 3 {
		t.Errorf("%d transactions were ended: nothing came late", l.seen)
	}
}

// The answer is lost, and one of two partitions goes to another member, which commits more than the transaction
// would have. That says nothing of the transaction: it was aborted, and what is still ours is to be done again.
// Breaks if the offset of a claim that is lost is believed, or if one such claim has the others given up.
func TestLostAnswerAndPartition(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	both := halves(t, addr, 5)
	gone, ours := both[0], both[1]
	out := kafkatest.Topic(t, addr, 1)
	cut := newScissors(endTxnKey, 0)
	cut.lose.Store(math.MaxInt32)
	p := cutPublisher(t, addr, cut)
	ended := make(chan error, 1)
	go func() {
		ended <- p.Transact(t.Context(), []adapters.Finished{
			{Claim: gone.claim, Records: gone.run[:2]}, {Claim: ours.claim, Records: ours.run},
		}, relay(out, append(gone.run[:2:2], ours.run...)))
	}()
	<-cut.first
	m := gone.claim.owner.(*member)
	gone.claim.Finish(gone.run) // as its new owner would
	if err := m.commit(gone.claim); err != nil {
		t.Fatal(err)
	}
	gone.claim.lose(adapters.ErrLost)
	if err := <-ended; err == nil || errors.Is(err, adapters.ErrLost) {
		t.Fatalf("a transaction that was aborted: %v", err)
	}
	cut.pass.Store(math.MaxInt32)
	finished := []adapters.Finished{{Claim: ours.claim, Records: ours.run}}
	for {
		if err := p.Transact(t.Context(), finished, relay(out, ours.run)); err == nil {
			break
		} else if errors.Is(err, adapters.ErrLost) {
			t.Fatal(err)
		}
	}
	all := committedOn(t, addr, out)
	if len(all) != len(ours.run) {
		t.Errorf("there are %v, want what is ours", all)
	}
	for id, n := range all {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
}

// The answer is lost, and the partition went to another member without our knowing: it has committed more than the transaction
// would have. Breaks if that is taken for the transaction's own commit: what was fed beside it is taken for published.
func TestLostAnswerAndAnOffsetBeyond(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	gone := halves(t, addr, 5)[0]
	out := kafkatest.Topic(t, addr, 1)
	cut := newScissors(endTxnKey, 0)
	cut.lose.Store(math.MaxInt32)
	p := cutPublisher(t, addr, cut)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- p.Transact(ctx, []adapters.Finished{{Claim: gone.claim, Records: gone.run[:2]}}, relay(out, gone.run[:2]))
	}()
	<-cut.first
	gone.claim.Finish(gone.run) // as its new owner would
	if err := gone.claim.owner.(*member).commit(gone.claim); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, adapters.ErrLost) {
		t.Errorf("a transaction of which nobody here knows what became: %v", err)
	}
}

func cutPublisher(t *testing.T, addr string, by *scissors) *Publisher {
	t.Helper()
	p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{addr}, Dial: by.dial}, TransactionalID: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}
