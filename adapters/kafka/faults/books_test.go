package faults_test

import (
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

	mu   sync.Mutex // the load looks at the effects too
	seen []string   // lines of effects, as far as they were read
	read int64      // bytes
}

func newPlace(t *testing.T, addr string, partitions int) *place {
	t.Helper()
	in := kafkatest.Topic(t, addr, partitions)
	p := &place{partitions: partitions, job: job{
		Addr: addr, Group: in, In: in, Dead: kafkatest.Topic(t, addr, 1), Window: 500,
		Effects: filepath.Join(t.TempDir(), "effects"),
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

// publish publishes parcels in batches, and what fails again until it does not.
func (p *place) publish(t *testing.T, ps []parcel) {
	t.Helper()
	const many = 500
	for len(ps) > 0 {
		n := min(many, len(ps))
		ms := messages(ps[:n])
		for _, x := range ps[:n] {
			p.ledger.Tried(x.ID, x.Key)
		}
		if err := p.pub.Publish(p.In, ms...); err != nil {
			t.Fatal(err)
		}
		for _, x := range ps[:n] {
			p.ledger.Published(x.ID, x.Key)
		}
		ps = ps[n:]
	}
}

// effects reads the lines that consumers have written so far.
func (p *place) effects(t *testing.T) []string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	file, err := os.Open(p.Effects)
	if os.IsNotExist(err) {
		return nil
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
		whole, ok := strings.CutSuffix(line, "\n")
		if !ok {
			break
		}
		p.seen = append(p.seen, whole)
		p.read += int64(len(line))
	}
	return slices.Clip(p.seen)
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

// different counts ids in lines of effects.
func different(lines []string) int {
	seen := map[string]bool{}
	for _, l := range lines {
		seen[strings.Fields(l)[0]] = true
	}
	return len(seen)
}

// book enters effects into the ledger, the first of each, and gives how many were repeats.
func (p *place) book(lines []string) (repeats int) {
	seen := map[string]bool{}
	for _, l := range lines {
		id := strings.Fields(l)[0]
		if seen[id] {
			repeats++
			continue
		}
		seen[id] = true
		p.ledger.Effect(id)
	}
	return repeats
}

// redelivered counts the effects that were told as redelivered, and gives the lines of repeats that were not.
func redelivered(lines []string) (told int, untold []string) {
	seen := map[string]bool{}
	for _, l := range lines {
		f := strings.Fields(l)
		switch {
		case f[3] == "true":
			told++
		case seen[f[0]]:
			untold = append(untold, l)
		}
		seen[f[0]] = true
	}
	return told, untold
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

// dead enters what is in the dead letter topic into the ledger.
func (p *place) deadLetters(t *testing.T) {
	t.Helper()
	for _, m := range readAll(t, p.Addr, p.Dead) {
		p.ledger.DeadLetter(m)
	}
}

// readAll gives the ids of the committed messages of a topic, as they lie there, partition by partition.
func readAll(t *testing.T, addr, topic string) (ids []string) {
	t.Helper()
	for r := range committed(t, addr, topic) {
		ids = append(ids, r.ID)
	}
	return ids
}

func random(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	for seed := range leattest.Seeds(t, 1) {
		return rand.New(rand.NewPCG(seed, 0)), seed
	}
	return nil, 0
}
