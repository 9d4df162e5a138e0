package hostile_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
)

// What one batch may come to, and by how much the heap may grow beyond that.
const (
	expanded = 16 << 20
	spare    = 32 << 20
)

// heap gives by how much what is alive on the heap grew at most, from now on until what it gives is called.
func heap() (peak func() int64) {
	debug.FreeOSMemory()
	percent := debug.SetGCPercent(20) // so that it is looked at often
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	read := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	base, most := read(), int64(0)
	stop := every(2*time.Millisecond, func() { most = max(most, read()-base) })
	return func() int64 {
		stop()
		debug.SetGCPercent(percent)
		return most
	}
}

// F32: batches that expand to 60 MiB, by every compression, one behind another and between what can be read. The
// heap does not follow, the partition moves on, and of each there is a notice that says which offsets it was.
func TestBombs(t *testing.T) {
	fake := kafkatest.Fake(t, tolerant())
	addr := kafkatest.Addr(fake)
	in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	bomb := make([]byte, 60<<20)
	good, bombs := 0, 0
	plain := func(n int) {
		for range n {
			write(t, addr, in, &kgo.Record{Value: fmt.Appendf(nil, "%d", good+bombs), Headers: []kgo.RecordHeader{header(kafka.HeaderID, fmt.Sprint(good+bombs))}})
			good++
		}
	}
	plain(3)
	unread := map[int]bool{} // the offsets of bombs of which no notice has told
	for i, c := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.ZstdCompression(), kgo.Lz4Compression(), kgo.SnappyCompression()} {
		unread[good+bombs] = true
		explode(t, addr, in, c, [][]byte{bomb})
		bombs++
		if i != 1 { // two in a row
			plain(2)
		}
	}
	bomb = nil //nolint:wastedassign,ineffassign // It is not to be on the heap.
	runtime.GC()
	peak := heap()
	seen := make(chan string, 100)
	stop := subscribe(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: in, MaxAttempts: 3, DeadLetter: dead}, in, func(id string) error {
		seen <- id
		return nil
	})
	until(t, time.Minute, "all that can be read is read", func() bool { return len(seen) >= good })
	stop()
	close(seen)
	if n := left(t, addr, in, in); n != 0 {
		t.Errorf("%d are not committed", n)
	}
	most := peak()
	t.Logf("the heap grew by %d MiB", most>>20)
	if most > expanded+spare+pooled {
		t.Errorf("the heap grew by %d MiB, want %d at most", most>>20, (expanded+spare+pooled)>>20)
	}
	got := map[string]int{}
	for id := range seen {
		got[id]++
	}
	for _, l := range read(t, addr, dead) {
		var from, to int
		if _, err := fmt.Sscanf(l.get(flow.DeadError), "records "+in+"/0/%d to %d:", &from, &to); err != nil || l.get(flow.DeadOrigin) != fmt.Sprint(in, "/0/", from) {
			t.Errorf("a dead letter from %s says %q: which records are that? %v", l.get(flow.DeadOrigin), l.get(flow.DeadError), err)
		}
		for offset := from; offset <= to; offset++ {
			if !unread[offset] {
				t.Errorf("there is a notice of offset %d, which is no bomb or was told of", offset)
			}
			delete(unread, offset)
		}
		if !strings.Contains(l.get(flow.DeadError), kafka.ErrRefused.Error()) {
			t.Errorf("a dead letter says %q, want that records are refused", l.get(flow.DeadError))
		}
		if l.Value == nil || l.get(flow.DeadSize) != "0" {
			t.Errorf("a dead letter that has no bytes is %v, with %s %q: want it empty and a notice", l.Value, flow.DeadSize, l.get(flow.DeadSize))
		}
		t.Log(l.get(flow.DeadError))
	}
	for id, n := range got {
		if n != 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
	if len(got) != good {
		t.Errorf("%d of %d messages are delivered: %v", len(got), good, got)
	}
	if len(unread) > 0 {
		t.Errorf("no notice tells of the offsets %v", unread)
	}
}

// F32: a batch of 50 records, none of which is large, expands beyond the limit. One notice says which offsets all of them were,
// and what is behind them is delivered. Breaks if the batch is taken for its first record: then each of them has a notice, and
// ends a session.
func TestBombOfManyRecords(t *testing.T) {
	const before, many, behind = 3, 50, 4
	addr := kafkatest.Addr(kafkatest.Fake(t, tolerant()))
	in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	for i := range before - 1 {
		write(t, addr, in, &kgo.Record{Value: fmt.Appendf(nil, "%d", i)})
	}
	last := fmt.Appendf(nil, "%d", before-1)
	explode(t, addr, in, kgo.ZstdCompression(), [][]byte{last}, slices.Repeat([][]byte{make([]byte, 400<<10)}, many))
	for i := range behind {
		write(t, addr, in, &kgo.Record{Value: fmt.Appendf(nil, "%d", before+i)})
	}
	seen := make(chan string, before+many+behind)
	stop := subscribe(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: in, MaxAttempts: 3, DeadLetter: dead}, in, func(id string) error {
		seen <- id
		return nil
	})
	until(t, time.Minute, "what is behind the batch is read", func() bool { return len(seen) >= before+behind })
	stop()
	close(seen)
	if n := left(t, addr, in, in); n != 0 {
		t.Errorf("%d are not committed", n)
	}
	var got []string
	for id := range seen {
		got = append(got, id)
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5", "6"}) {
		t.Errorf("delivered are %v, want what is before and behind the batch, once", got)
	}
	letters := read(t, addr, dead)
	if len(letters) != 1 {
		t.Fatalf("there are %d notices, want 1", len(letters))
	}
	origin, says := letters[0].get(flow.DeadOrigin), letters[0].get(flow.DeadError)
	if want := fmt.Sprintf("%s/0/%d", in, before); origin != want {
		t.Errorf("the notice is of %s, want %s", origin, want)
	}
	if want := fmt.Sprintf("records %s/0/%d to %d: ", in, before, before+many-1); !strings.Contains(says, want) || !strings.Contains(says, kafka.ErrRefused.Error()) {
		t.Errorf("the notice says %q, want %q, and that they are refused", says, want)
	}
}

// explode writes batches of records, compressed. The first is of one: of more, some may be written before the rest is there, for the
// client does not know the topic yet.
func explode(t *testing.T, addr, topic string, codec kgo.CompressionCodec, batches ...[][]byte) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec),
		kgo.MaxBufferedBytes(1<<30), kgo.ProducerBatchMaxBytes(90<<20), kgo.ManualFlushing())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, values := range batches {
		for _, v := range values {
			c.Produce(t.Context(), &kgo.Record{Value: v}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// F32: JSON that is 100,000 deep, has a million keys, or numbers without end. It goes to the dead letter, and the
// next is processed.
func TestJSONBombs(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t, tolerant()))
	in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	var keys bytes.Buffer
	for i := range 1_000_000 {
		fmt.Fprintf(&keys, `,"%d":%d`, i, rand.IntN(10))
	}
	const deep = 100_000
	values := [][]byte{
		[]byte(`{"a":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `}`),
		append(append([]byte(`{"z":1`), keys.Bytes()...), '}'),
		[]byte(`{"n":` + strings.Repeat("9", 900_000) + `}`),
		[]byte(`{"n":1e999999999}`),
		[]byte(`{"next":1}`),
	}
	for _, v := range values {
		write(t, addr, in, &kgo.Record{Value: v})
	}
	peak := heap()
	next := make(chan struct{})
	f := newFlow(t, "json",
		flow.Step("do", channel.Topic[map[string]any](in), endpoint.Do(func(_ context.Context, m map[string]any) error {
			if m["next"] != nil {
				close(next)
				return nil
			}
			return fmt.Errorf("%w: what has %d keys is processed", errPoison, len(m))
		})),
		flow.Policy{Attempts: 1, DeadLetter: channel.Topic[[]byte](dead)}, flow.Group(in))
	h, stop := start(t, f, publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)}), subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr)}))
	select {
	case <-next:
	case <-time.After(time.Minute):
		t.Fatal("what is behind is not processed")
	}
	until(t, time.Minute, "all are in the dead letter", func() bool { return h.Counts()["do"].InFlight == 0 })
	most := peak()
	t.Logf("the heap grew by %d MiB", most>>20)
	if most > expanded+spare {
		t.Errorf("the heap grew by %d MiB, want %d at most", most>>20, (expanded+spare)>>20)
	}
	stop()
	if n := left(t, addr, in, in); n != 0 {
		t.Errorf("%d are not committed", n)
	}
	if c := h.Counts()["do"]; !c.Balanced() || c.Done != 1 || c.Dead+c.Invalid != int64(len(values)-1) {
		t.Errorf("counted are %v", c)
	}
	letters := read(t, addr, dead)
	if len(letters) != len(values)-1 {
		t.Errorf("%d dead letters, want %d", len(letters), len(values)-1)
	}
	for _, l := range letters {
		if strings.Contains(l.get(flow.DeadError), errPoison.Error()) {
			t.Errorf("%s: %s", l.get(flow.DeadOrigin), l.get(flow.DeadError))
		}
	}
}
