package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/internal/kafkatest"
)

// hear has f called with each request of its kind, before the broker answers it. f is called by one goroutine.
func hear[R kmsg.Request](fake *kfake.Cluster, f func(R)) {
	var kind R
	fake.ControlKey(kind.Key(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		f(kreq.(R))
		return nil, nil, false //nolint:nilnil // then it is the broker that answers
	})
}

// arrives gives the next message of a subscription.
func arrives(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, open := <-messages:
		if !open {
			t.Fatal("the subscription has ended")
		}
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("no message comes within 30s")
	}
	return nil
}

// subscribed gives what a subscriber delivers of a topic, until the test ends.
func subscribed(t *testing.T, c SubscriberConfig, topic string) <-chan *message.Message {
	t.Helper()
	s, err := NewSubscriber(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30s", what)
		}
	}
}

// Batches are compressed as the publisher is told, Snappy if it is told nothing, and a subscriber reads them. Breaks if what is
// sent is not compressed, or otherwise than its batch says.
func TestCompression(t *testing.T) {
	const codecs = 0b111 // of a batch's attributes
	payload := bytes.Repeat([]byte("much the same "), 1000)
	for name, x := range map[string]struct {
		change func(*PublisherConfig)
		codec  int16
	}{
		"by default":   {nil, 2},
		"Snappy":       {func(c *PublisherConfig) { c.Compression = Snappy }, 2},
		"LZ4":          {func(c *PublisherConfig) { c.Compression = LZ4 }, 3},
		"Zstd":         {func(c *PublisherConfig) { c.Compression = Zstd }, 4},
		"Gzip":         {func(c *PublisherConfig) { c.Compression = Gzip }, 1},
		"Uncompressed": {func(c *PublisherConfig) { c.Compression = Uncompressed }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fake, p, topic := writing(t, 1, x.change)
			batches := 0
			intercept(t, fake, func(b produced) (*kerr.Error, []int32) {
				batches++
				if codec := b.records.Attributes & codecs; codec != x.codec {
					t.Errorf("a batch is of codec %d, want %d", codec, x.codec)
				}
				if n := len(b.records.Records); n < len(payload) != (x.codec > 0) {
					t.Errorf("%d bytes came as %d", len(payload), n)
				}
				return nil, nil
			})
			if err := p.Publish(topic, message.NewMessage("1", payload)); err != nil {
				t.Fatal(err)
			}
			if batches != 1 {
				t.Errorf("%d batches came, want 1", batches)
			}
			m := arrives(t, subscribed(t, SubscriberConfig{Cluster: p.conf.Cluster}, topic))
			defer m.Ack()
			if m.UUID != "1" || !bytes.Equal(m.Payload, payload) {
				t.Errorf("%q is read, with %d bytes; want 1, as it was, with %d", m.UUID, len(m.Payload), len(payload))
			}
		})
	}
}

// Whatever is written waits for all replicas in sync. Breaks if the leader's word is enough: what it alone has is acknowledged,
// and is lost with it.
func TestAllReplicasAcknowledge(t *testing.T) {
	for name, x := range map[string]struct {
		change func(*PublisherConfig)
		send   func(p *Publisher, topic string) error
	}{
		"by default": {nil, func(p *Publisher, topic string) error { return p.Publish(topic, numbered(0, 1)...) }},
		"where duplicates are allowed": {
			func(c *PublisherConfig) { c.AllowDuplicates = true },
			func(p *Publisher, topic string) error { return p.Publish(topic, numbered(0, 1)...) },
		},
		"in a transaction": {
			func(c *PublisherConfig) { c.TransactionalID = "x" },
			func(p *Publisher, topic string) error { return p.Transact(t.Context(), nil, some(topic)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake, p, topic := writing(t, 1, x.change)
			var acks []int16
			intercept(t, fake, func(b produced) (*kerr.Error, []int32) {
				acks = append(acks, b.acks)
				return nil, nil
			})
			if err := x.send(p, topic); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(acks, []int16{-1}) {
				t.Errorf("batches want the acknowledgements %v, want one that wants all, which is -1", acks)
			}
		})
	}
}

// A publisher asks for an identity once, and numbers what it writes under it; where duplicates are allowed it asks for none and
// has none. Breaks if the one is done for the other: a batch that comes twice is there twice, or a cluster that forbids
// idempotent producers refuses all.
func TestAllowDuplicates(t *testing.T) {
	type stamp struct {
		id    int64
		epoch int16
	}
	for _, allowed := range []bool{false, true} {
		t.Run(fmt.Sprint(allowed), func(t *testing.T) {
			fake, p, topic := writing(t, 1, func(c *PublisherConfig) { c.AllowDuplicates = allowed })
			asked := 0
			hear(fake, func(*kmsg.InitProducerIDRequest) { asked++ })
			var stamps []stamp
			var numbers []int32
			intercept(t, fake, func(b produced) (*kerr.Error, []int32) {
				stamps = append(stamps, stamp{b.records.ProducerID, b.records.ProducerEpoch})
				numbers = append(numbers, b.records.FirstSequence)
				return nil, nil
			})
			for i := range 2 {
				if err := p.Publish(topic, numbered(3*i, 3)...); err != nil {
					t.Fatal(err)
				}
			}
			if len(stamps) != 2 || stamps[0] != stamps[1] {
				t.Fatalf("batches came under the identities %v, want two under one", stamps)
			}
			if allowed {
				if asked != 0 || stamps[0] != (stamp{-1, -1}) {
					t.Errorf("an identity was asked for %d times, and it is %v; want none", asked, stamps[0])
				}
				return
			}
			if asked != 1 || stamps[0].id < 0 || stamps[0].epoch < 0 || !slices.Equal(numbers, []int32{0, 3}) {
				t.Errorf("an identity was asked for %d times; under %v came numbers %v; want once, one, 0 and 3", asked, stamps[0], numbers)
			}
		})
	}
}

// A broker that makes topics when it is asked for them is never asked to. Breaks if any request for metadata does: a name that is
// wrong, or a topic that was deleted, becomes an empty topic, of one partition and one replica, and nobody is told.
func TestNoTopicIsMadeByAsking(t *testing.T) {
	fake := kafkatest.Fake(t, kfake.AllowAutoTopicCreation())
	addr := kafkatest.Addr(fake)
	in, out := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	var asked, asks atomic.Int32
	hear(fake, func(r *kmsg.MetadataRequest) {
		asked.Add(1)
		if r.AllowAutoTopicCreation {
			asks.Add(1)
		}
	})
	conf := Cluster{Brokers: []string{addr}}
	p, err := NewPublisher(PublisherConfig{Cluster: conf, TransactionalID: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := errors.Join(p.Publish(in, numbered(0, 1)...), p.Transact(t.Context(), nil, some(out))); err != nil {
		t.Fatal(err)
	}
	missing := in + "-missing"
	if err := p.Publish(missing, numbered(0, 1)...); !errors.Is(err, ErrNoTopic) {
		t.Errorf("publishing to a topic that is not there: %v", err)
	}
	for _, group := range []string{"g", ""} {
		c := SubscriberConfig{Cluster: conf, Group: group, RefreshInterval: 10 * time.Millisecond}
		before := asked.Load()
		arrives(t, subscribed(t, c, in)).Ack()
		eventually(t, "the topic is asked for again", func() bool { return asked.Load() >= before+10 })
		s, err := NewSubscriber(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Subscribe(t.Context(), missing); !errors.Is(err, ErrNoTopic) {
			t.Errorf("reading a topic that is not there, in group %q: %v", group, err)
		}
		_ = s.Close()
	}
	if n := asks.Load(); n > 0 {
		t.Errorf("%d of %d requests for metadata have the broker make what is missing", n, asked.Load())
	}
	if fake.TopicInfo(missing) != nil {
		t.Error("a topic that was missing is there")
	}
}

// A subscriber of which only brokers and group are said reads from the oldest message on, one of each key at a time and only what
// is committed, and joins its group by cooperative-sticky alone. Breaks if a zero value means less than the safe choice to the
// broker, or to who works on the messages.
func TestZeroValuesReachTheBroker(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	var fetches, uncommitted atomic.Int32
	hear(fake, func(r *kmsg.FetchRequest) {
		fetches.Add(1)
		if r.IsolationLevel != 1 {
			uncommitted.Add(1)
		}
	})
	joins := make(chan string, 10)
	hear(fake, func(r *kmsg.JoinGroupRequest) {
		var names []string
		for _, p := range r.Protocols {
			names = append(names, p.Name)
		}
		select {
		case joins <- fmt.Sprint(names):
		default:
		}
	})
	first, second, other := keyed("a"), keyed("a"), keyed("b")
	second.UUID = "a again"
	if err := p.Publish(topic, first, second, other); err != nil {
		t.Fatal(err)
	}
	messages := subscribed(t, SubscriberConfig{Cluster: p.conf.Cluster, Group: topic}, topic)
	a, b := arrives(t, messages), arrives(t, messages)
	if a.UUID != "a" || b.UUID != "b" {
		t.Errorf("%q and %q are delivered at once, want the first of each key", a.UUID, b.UUID)
	}
	a.Ack()
	b.Ack()
	m := arrives(t, messages)
	m.Ack()
	if m.UUID != "a again" {
		t.Errorf("then %q is delivered, want the second of its key", m.UUID)
	}
	if join := <-joins; join != "[cooperative-sticky]" {
		t.Errorf("the group is joined by %s", join)
	}
	if n := uncommitted.Load(); n > 0 || fetches.Load() == 0 {
		t.Errorf("%d of %d fetches ask for what is not committed", n, fetches.Load())
	}
}
