package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// long reports whether tests run in their long form: make soak-kafka-faults.
func long() bool { return os.Getenv("LEAT_SOAK") != "" }

// of gives the number for the form that tests run in.
func of[N any](short, soak N) N {
	if long() {
		return soak
	}
	return short
}

// A place is where a test happens: topics and a group of its own on a broker.
type place struct {
	job
	partitions int
	pub        *kafka.Publisher
	ledger     leattest.Ledger

	mu   sync.Mutex // the load looks at the deeds too
	seen history
	ids  map[string]bool // of what is done
	read int64           // bytes of the deeds
}

// A history is what consumers have written so far, in this order.
type history struct {
	taken, done []deed
	different   int // ids of what is done
}

func newPlace(t *testing.T, addr string, partitions int, seed uint64) *place {
	t.Helper()
	in := kafkatest.Topic(t, addr, partitions)
	p := &place{partitions: partitions, ids: map[string]bool{}, job: job{
		Addr: addr, Group: in, In: in, Dead: kafkatest.Topic(t, addr, 1), Window: 500,
		Deeds: filepath.Join(t.TempDir(), "deeds"), Seed: seed,
	}}
	var err error
	if p.pub, err = kafka.NewPublisher(kafka.PublisherConfig{Cluster: kafka.Cluster{Brokers: []string{addr}}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.pub.Close() })
	return p
}

// parcels gives n of them, the first number from, of keys keys, in the order of their keys.
func parcels(from, n, keys int) []parcel {
	ps := make([]parcel, n)
	for at := range ps {
		i := from + at
		ps[at] = parcel{ID: fmt.Sprint("id-", i), Key: fmt.Sprint("key-", i%keys), N: i / keys}
	}
	return ps
}

func (p parcel) message() *message.Message {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	m := message.NewMessage(p.ID, b)
	m.Metadata[channel.HeaderKey] = p.Key
	return m
}

func messages(ps []parcel) []*message.Message {
	ms := make([]*message.Message, len(ps))
	for i, x := range ps {
		ms[i] = x.message()
	}
	return ms
}

// look reads what consumers have written so far.
func (p *place) look(t *testing.T) history {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	file, err := os.Open(p.Deeds)
	if os.IsNotExist(err) {
		return history{}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	b, err := io.ReadAll(io.NewSectionReader(file, p.read, math.MaxInt64-p.read))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		var d deed
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatal(err)
		}
		if p.read += int64(len(line)); !d.Done {
			p.seen.taken = append(p.seen.taken, d)
			continue
		}
		p.seen.done = append(p.seen.done, d)
		p.ids[d.ID] = true
	}
	return history{slices.Clip(p.seen.taken), slices.Clip(p.seen.done), len(p.ids)}
}

// takenBy is how many messages a consumer has taken.
func (h history) takenBy(c *consumer) int { return count(h.taken, c) }

// inHand is how many of them it is not done with.
func (h history) inHand(c *consumer) int { return count(h.taken, c) - count(h.done, c) }

// keysOf are the keys that a consumer has worked on last.
func (h history) keysOf(c *consumer) map[string]bool {
	keys := map[string]bool{}
	for _, d := range h.taken {
		if d.By == c.Process.Pid {
			keys[d.Key] = true
		} else {
			delete(keys, d.Key)
		}
	}
	return keys
}

func count(ds []deed, by *consumer) (n int) {
	for i := range ds {
		if ds[i].By == by.Process.Pid {
			n++
		}
	}
	return n
}

// until waits until a condition holds, and fails the test when it does not within a limit.
func until(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
}

// book enters effects into the ledger, the first of each, and gives how many were repeats.
func (p *place) book(effects []deed) (repeats int) {
	seen := map[string]bool{}
	for _, d := range effects {
		if seen[d.ID] {
			repeats++
			continue
		}
		seen[d.ID] = true
		p.ledger.Effect(d.ID)
	}
	return repeats
}

// redelivered counts the effects that were told as redelivered, and gives the repeats that were not.
func redelivered(effects []deed) (told int, untold []deed) {
	seen := map[string]bool{}
	for _, d := range effects {
		switch {
		case d.Again:
			told++
		case seen[d.ID]:
			untold = append(untold, d)
		}
		seen[d.ID] = true
	}
	return told, untold
}

// load publishes batches of parcels of so many keys until it is halted: as much as the group bears, so that every member
// has something to do all the time.
func (p *place) load(t *testing.T, batch, keys int) (published *atomic.Int64, halt func()) {
	t.Helper()
	const behind = 500 // messages at most that are not done
	ctx, cancel := context.WithCancel(t.Context())
	published = new(atomic.Int64)
	halted := make(chan struct{})
	go func() {
		defer close(halted)
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for ; ctx.Err() == nil; <-pace.C {
			if n := int(published.Load()); n-p.look(t).different < behind {
				p.insist(t, parcels(n, batch, keys))
				published.Add(int64(batch))
			}
		}
	}()
	return published, func() {
		cancel()
		<-halted
	}
}

// left is how many messages of the topic the group has not committed.
func (p *place) left(t *testing.T) (n int64) {
	t.Helper()
	until(t, time.Minute, "the broker tells what the group has committed", func() (ok bool) {
		n, ok = p.uncommitted(t)
		return ok
	})
	return n
}

// uncommitted reports false while the broker cannot say.
func (p *place) uncommitted(t *testing.T) (n int64, ok bool) {
	t.Helper()
	client, err := sarama.NewClient([]string{p.Addr}, sarama.NewConfig())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	all := make([]int32, p.partitions)
	for i := range all {
		all[i] = int32(i)
	}
	resp, err := admin.ListConsumerGroupOffsets(p.Group, map[string][]int32{p.In: all})
	if err != nil || resp.Err != sarama.ErrNoError {
		return 0, false
	}
	for _, i := range all {
		end, err := client.GetOffset(p.In, i, sarama.OffsetNewest)
		block := resp.GetBlock(p.In, i)
		if err != nil || block == nil || block.Err != sarama.ErrNoError {
			return 0, false
		}
		n += end - max(block.Offset, 0)
	}
	return n, true
}

// deadLetters enters what is in the dead letter topic into the ledger.
func (p *place) deadLetters(t *testing.T) {
	t.Helper()
	for r := range written(t, p.Addr, p.Dead, committed) {
		p.ledger.DeadLetter(r.ID)
	}
}

func random(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	for seed := range leattest.Seeds(t, 1) {
		return rand.New(rand.NewPCG(seed, 0)), seed
	}
	return nil, 0
}
