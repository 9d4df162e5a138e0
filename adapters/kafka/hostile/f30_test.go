package hostile_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A strange record is what nobody of ours has written.
type strange struct {
	name    string
	value   []byte
	headers []kgo.RecordHeader
	refused bool // it is no message
	cut     bool // and its dead letter has the first bytes alone
}

func header(name, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: name, Value: []byte(value)}
}

func strangers() []strange {
	traceparent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	many := make([]kgo.RecordHeader, 10_000)
	for i := range many {
		many[i] = header(fmt.Sprint("h", i), "v")
	}
	return []strange{
		{"F30: the id twice", []byte("raw \x00\xff"), []kgo.RecordHeader{header(kafka.HeaderID, "a"), header(kafka.HeaderID, "b")}, true, false},
		{"F30: one of ours twice", []byte("raw"), []kgo.RecordHeader{header("leat-hops", "1"), header("leat-hops", "2")}, true, false},
		{"F30: line breaks and NUL", []byte("raw"), []kgo.RecordHeader{header("na\r\nme", "va\r\nlue\x00")}, false, false},
		{"F30: not UTF-8", []byte("\xff\xfe"), []kgo.RecordHeader{header("n\xff", "v\xfe")}, false, false},
		{"F30: a trace of others", []byte("raw"), []kgo.RecordHeader{header("traceparent", traceparent)}, false, false},
		{"F31: 10,000 headers", []byte("raw"), many, true, false},
		{"F31: a header of 1 MiB", []byte("raw"), []kgo.RecordHeader{header("big", strings.Repeat("x", 1<<20))}, true, false},
		{"F31: baggage of 8 KiB", []byte("raw"), []kgo.RecordHeader{header("baggage", strings.Repeat("x", 8<<10))}, true, false},
		{"F17: more than Limits.Body", bytes.Repeat([]byte("0123456789"), 120_000), nil, true, true},
	}
}

// tolerant has the broker take what is larger than usual.
func tolerant() kfake.Opt {
	return kfake.BrokerConfigs(map[string]string{"message.max.bytes": strconv.Itoa(128 << 20)})
}

// F16, F17, F30, F31: what is no message goes to the dead letter, which says that it is no copy, and what only looks
// strange is delivered as it is. The next message comes as ever.
func TestStrangeRecords(t *testing.T) {
	fake := kafkatest.Fake(t, tolerant())
	addr := kafkatest.Addr(fake)
	for _, x := range strangers() {
		t.Run(x.name, func(t *testing.T) {
			in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
			write(t, addr, in, &kgo.Record{Key: []byte("k"), Value: x.value, Headers: x.headers}, &kgo.Record{Key: []byte("k"), Value: []byte(`"next"`)})
			s := subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: in, MaxAttempts: 3, DeadLetter: dead})
			messages, err := s.Subscribe(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			var got []*message.Message
			for len(got) == 0 || string(got[len(got)-1].Payload) != `"next"` {
				m := <-messages
				got = append(got, m)
				m.Ack()
			}
			if !x.refused {
				if len(got) != 2 || !bytes.Equal(got[0].Payload, x.value) || got[0].Metadata[x.headers[0].Key] != string(x.headers[0].Value) {
					t.Errorf("delivered are %d messages, the first %q %q, want it as it was", len(got), got[0].Payload, got[0].Metadata)
				}
				return
			}
			if len(got) != 1 {
				t.Errorf("%d messages are delivered, want the next alone", len(got))
			}
			until(t, 10*time.Second, "the dead letter is there", func() bool { return fake.PartitionInfo(dead, 0).HighWatermark > 0 })
			until(t, 10*time.Second, "all is committed", func() bool { return left(t, addr, in, in) == 0 })
			x.check(t, read(t, addr, dead), in)
		})
	}
}

// F16, F17: what comes behind a record that is no message is there within 50 ms, in the middle of many tries: the dead
// letter is all that it waits for.
func TestStrangeRecordsHoldNobodyUp(t *testing.T) {
	const rounds, most = 25, 50 * time.Millisecond
	addr := kafkatest.Addr(kafkatest.Fake(t, tolerant()))
	for _, x := range strangers() {
		if !x.refused {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
			s := subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: in, MaxAttempts: 3, DeadLetter: dead})
			messages, err := s.Subscribe(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			took := make([]time.Duration, rounds)
			for i := range took {
				write(t, addr, in, &kgo.Record{Key: []byte("k"), Value: x.value, Headers: x.headers}, &kgo.Record{Key: []byte("k"), Value: []byte("next")})
				written := time.Now()
				m := <-messages
				took[i] = time.Since(written)
				m.Ack()
				if string(m.Payload) != "next" {
					t.Fatalf("%q was delivered", m.Payload)
				}
			}
			slices.Sort(took)
			if took[rounds/2] > most {
				t.Errorf("the next message came after %v, want %v at most; all: %v", took[rounds/2], most, took)
			}
		})
	}
}

// check looks at the dead letters of the first record of a topic.
func (x strange) check(t *testing.T, letters []written, topic string) {
	t.Helper()
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want one", len(letters))
	}
	l := letters[0]
	if got, want := l.get(flow.DeadOrigin), topic+"/0/0"; got != want {
		t.Errorf("the dead letter comes from %q, want %q", got, want)
	}
	if l.get(flow.DeadError) == "" || l.get(flow.DeadClass) != "permanent" {
		t.Errorf("the dead letter's error is %q, its class %q", l.get(flow.DeadError), l.get(flow.DeadClass))
	}
	want := x.value
	if x.cut {
		want = want[:4<<10]
	}
	sum := sha256.Sum256(x.value)
	if l.get(flow.DeadSize) != strconv.Itoa(len(x.value)) || l.get(flow.DeadSHA256) != hex.EncodeToString(sum[:]) || !bytes.Equal(l.Value, want) {
		t.Errorf("the notice says %s bytes, sum %s, and has the first %d", l.get(flow.DeadSize), l.get(flow.DeadSHA256), len(l.Value))
	}
}

// write writes records as they are.
func write(t *testing.T, addr, topic string, rs ...*kgo.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(64<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// F31: to refuse a record costs at most 64 KiB, whatever is in it. The client has read it by then: what is
// counted is what Next allocates for a record that waits.
func TestCostOfRefusal(t *testing.T) {
	const most = 64 << 10
	addr := kafkatest.Addr(kafkatest.Fake(t, tolerant()))
	for _, x := range strangers() {
		if !x.refused {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			in := kafkatest.Topic(t, addr, 1)
			const n = 5
			for range n {
				write(t, addr, in, &kgo.Record{Value: x.value, Headers: x.headers})
			}
			s := subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr), Group: in, FetchBytes: 64 << 20})
			least := uint64(math.MaxUint64)
			ended := make(chan struct{})
			err := s.Claim(t.Context(), []string{in}, func(c adapters.Claim) {
				defer close(ended)
				defer func() { go s.Close() }()
				for range n {
					until(t, 10*time.Second, "everything waits", func() bool { return s.Lag(in) > 0 })
					run := make([]*adapters.Record, 0, 1)
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					run, err := c.Next(run)
					runtime.ReadMemStats(&after)
					if err != nil || run[0].Err == nil {
						t.Errorf("got %v, %v; want a record that is refused", run, err)
						return
					}
					least = min(least, after.TotalAlloc-before.TotalAlloc)
					c.Finish(run)
				}
			})
			<-ended
			if err != nil {
				t.Error(err)
			}
			if least > most {
				t.Errorf("to refuse it allocates %d bytes, want %d at most", least, most)
			}
		})
	}
}

// F17: what is beyond the limits is refused before anything is written, and so is what is in one batch with it.
func TestTooLargeToPublish(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, addr, 1)
	writes := fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	p := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	large := note("large", "")
	large.Payload = make([]byte, 1_000_001)
	err := p.Publish(topic, note("small", ""), large)
	if !errors.Is(err, channel.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if n := writes.Hits(); n != 0 {
		t.Errorf("%d requests were sent to write something", n)
	}
	if err := p.Publish(topic, note("next", "")); err != nil {
		t.Error(err)
	}
	if writes.Hits() == 0 {
		t.Error("writes are not counted")
	}
	if n := once(t, addr, topic); n != 1 {
		t.Errorf("%d messages are on the topic, want the last alone", n)
	}
}
