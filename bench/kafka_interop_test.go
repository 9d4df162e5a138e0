package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	rival "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

// onBoth runs a test on a Kafka in the process and on Kafka itself.
func onBoth(t *testing.T, test func(t *testing.T, address string)) {
	t.Helper()
	t.Run("in the process", func(t *testing.T) { test(t, kafkatest.Addr(kafkatest.Fake(t))) })
	t.Run("Kafka", func(t *testing.T) { test(t, kafkatest.Shared(t).Addr()) })
}

// buyer is the metadata that both publishers take their keys from here.
const buyer = "buyer"

func buyerOf(_ string, m *message.Message) string { return m.Metadata[buyer] }

// crossing are messages as they cross from one adapter to the other.
func crossing() []*message.Message {
	of := func(id string, payload []byte, metadata ...string) *message.Message {
		m := message.NewMessage(id, payload)
		for i := 0; i < len(metadata); i += 2 {
			m.Metadata[metadata[i]] = metadata[i+1]
		}
		return m
	}
	return []*message.Message{
		of("3f0c6a1e-5d0b-4c8e-9f55-0d5b5a4c9b10", []byte(`{"region":"EU"}`), buyer, "7", "trace", "abc"),
		of("tombstone", nil, buyer, "7"),
		of("empty", []byte{}, buyer, "7"),
		of("bytes", []byte{0, 0xff, '\n', 0x80}, buyer, "8"),
		of("words", []byte("käse"), buyer, "schlüssel", "größe", "12 µm", "nothing", "", "long", strings.Repeat("x", 4000)),
		of("no metadata", []byte("1")),
		of("0b7f", []byte("no key"), "correlation_id", "1"),
	}
}

// A received is what an adapter made of a record.
type received struct {
	id, key   string
	payload   []byte
	metadata  map[string]string
	partition int32
	offset    int64
	time      time.Time
	known     bool // all that the context is asked for
}

func receivedByOurs(m *message.Message) received {
	ctx := m.Context()
	r := received{id: m.UUID, payload: m.Payload, metadata: maps.Clone(m.Metadata)}
	var p, o, at bool
	r.partition, p = kafka.MessagePartitionFromCtx(ctx)
	r.offset, o = kafka.MessagePartitionOffsetFromCtx(ctx)
	r.time, at = kafka.MessageTimestampFromCtx(ctx)
	key, k := kafka.MessageKeyFromCtx(ctx)
	r.key, r.known = string(key), p && o && at && k
	return r
}

func receivedByRival(m *message.Message) received {
	ctx := m.Context()
	r := received{id: m.UUID, payload: m.Payload, metadata: maps.Clone(m.Metadata)}
	var p, o, at, k bool
	var key []byte
	r.partition, p = rival.MessagePartitionFromCtx(ctx)
	r.offset, o = rival.MessagePartitionOffsetFromCtx(ctx)
	r.time, at = rival.MessageTimestampFromCtx(ctx)
	key, k = rival.MessageKeyFromCtx(ctx)
	r.key, r.known = string(key), p && o && at && k
	return r
}

func oursPublishing(t *testing.T, address string) message.Publisher {
	t.Helper()
	p, err := kafka.NewPublisher(kafka.PublisherConfig{Cluster: kafka.Cluster{Brokers: []string{address}}, Key: buyerOf})
	return kept(t, message.Publisher(p), err)
}

func rivalPublishing(t *testing.T, address string) message.Publisher {
	t.Helper()
	marshaler := rival.NewWithPartitioningMarshaler(func(topic string, m *message.Message) (string, error) { return buyerOf(topic, m), nil })
	p, err := rival.NewPublisher(rival.PublisherConfig{Brokers: []string{address}, Marshaler: marshaler}, nil)
	return kept(t, message.Publisher(p), err)
}

func oursReading(t *testing.T, address, group string) message.Subscriber {
	t.Helper()
	s, err := kafka.NewSubscriber(kafka.SubscriberConfig{Cluster: kafka.Cluster{Brokers: []string{address}}, Group: group})
	return kept(t, message.Subscriber(s), err)
}

func rivalReading(t *testing.T, address, group string) message.Subscriber {
	t.Helper()
	c := rival.DefaultSaramaSubscriberConfig()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	s, err := rival.NewSubscriber(rival.SubscriberConfig{Brokers: []string{address}, ConsumerGroup: group, OverwriteSaramaConfig: c}, nil)
	return kept(t, message.Subscriber(s), err)
}

// kept closes a publisher or subscriber when the test ends.
func kept[C interface{ Close() error }](t *testing.T, c C, err error) C {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// take acknowledges the next n messages of a topic and gives them in the order of their offsets: messages
// of different keys come in any order. If there are more, one more is refused: then those before it are
// known to be acknowledged, which watermill-kafka forgets if it is closed too soon.
func take(t *testing.T, s message.Subscriber, topic string, n int, more bool, of func(*message.Message) received) []received {
	t.Helper()
	ctx := soon(t)
	out, err := s.Subscribe(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	next := func(i int) *message.Message {
		select {
		case m := <-out:
			return m
		case <-ctx.Done():
			t.Fatalf("%d of %d messages: %v", i, n, context.Cause(ctx))
		}
		return nil
	}
	all := make([]received, n)
	for i := range all {
		m := next(i)
		all[i] = of(m)
		m.Ack()
	}
	if more {
		next(n).Nack()
	}
	slices.SortFunc(all, func(a, b received) int { return cmp.Compare(a.offset, b.offset) })
	return all
}

// Whoever of the two publishes, both read the same: id, key, metadata, payload, nil apart from empty, and
// what their contexts say of the record.
func TestMessagesCrossBetweenAdapters(t *testing.T) {
	onBoth(t, func(t *testing.T, address string) {
		for name, publisher := range map[string]func(*testing.T, string) message.Publisher{
			"ours publishes": oursPublishing, "watermill-kafka publishes": rivalPublishing,
		} {
			t.Run(name, func(t *testing.T) {
				topic := kafkatest.Topic(t, address, 1)
				want := crossing()
				if err := publisher(t, address).Publish(topic, crossing()...); err != nil {
					t.Fatal(err)
				}
				for reader, got := range map[string][]received{
					"ours":            take(t, oursReading(t, address, topic+"-ours"), topic, len(want), false, receivedByOurs),
					"watermill-kafka": take(t, rivalReading(t, address, topic+"-rival"), topic, len(want), false, receivedByRival),
				} {
					for i, m := range want {
						if err := differs(m, &got[i], reader == "ours"); err != nil {
							t.Errorf("%s reads message %q: %v", reader, m.UUID, err)
						}
						if got[i].offset != int64(i) || got[i].partition != 0 || !got[i].known || time.Since(got[i].time).Abs() > time.Hour {
							t.Errorf("%s reads message %q at %d/%d, %v, context complete: %t; want 0/%d, just now", reader, m.UUID, got[i].partition, got[i].offset, got[i].time, got[i].known, i)
						}
					}
				}
			})
		}
	})
}

// differs says in what a message that was read is not the one that was published. Ours has the key in the
// metadata, too.
func differs(m *message.Message, got *received, keyed bool) error {
	metadata := maps.Clone(map[string]string(m.Metadata))
	if key := m.Metadata[buyer]; keyed && key != "" {
		metadata[channel.HeaderKey] = key
	}
	switch {
	case got.id != m.UUID:
		return fmt.Errorf("id %q, want %q", got.id, m.UUID) //nolint:err113 // A test's.
	case got.key != m.Metadata[buyer]:
		return fmt.Errorf("key %q, want %q", got.key, m.Metadata[buyer])
	case !maps.Equal(got.metadata, metadata):
		return fmt.Errorf("metadata %.200q, want %.200q", got.metadata, metadata)
	case !bytes.Equal(got.payload, m.Payload) || (got.payload == nil) != (m.Payload == nil):
		return fmt.Errorf("payload %q (nil: %t), want %q (nil: %t)", got.payload, got.payload == nil, m.Payload, m.Payload == nil)
	}
	return nil
}

// A group that watermill-kafka has read for is read on by ours where it was left, and the other way round.
func TestGroupsCrossBetweenAdapters(t *testing.T) {
	type reading = func(*testing.T, string, string) message.Subscriber
	onBoth(t, func(t *testing.T, address string) {
		for name, readers := range map[string][2]reading{
			"from watermill-kafka to ours": {rivalReading, oursReading}, "from ours to watermill-kafka": {oursReading, rivalReading},
		} {
			t.Run(name, func(t *testing.T) {
				const n, first = 20, 8
				topic := kafkatest.Topic(t, address, 1)
				ms := make([]*message.Message, n)
				for i := range ms {
					ms[i] = message.NewMessage(strconv.Itoa(i), []byte("body"))
				}
				if err := oursPublishing(t, address).Publish(topic, ms...); err != nil {
					t.Fatal(err)
				}
				at, next := 0, []int{first, n - first}
				for i, reader := range readers {
					s := reader(t, address, topic)
					for _, got := range take(t, s, topic, next[i], i == 0, receivedByOurs) {
						if got.id != strconv.Itoa(at) {
							t.Errorf("reader %d got message %s, want %d", i+1, got.id, at)
						}
						at++
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	})
}
