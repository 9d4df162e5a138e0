package kafka

import (
	"errors"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

// dead is an address at which nobody answers.
const dead = "127.0.0.1:1"

// One broker of those that are given is down. Breaks if who asks it first for a topic asks no other: then a part of all
// processes gets no further.
func TestOneBrokerIsDown(t *testing.T) {
	fake := kafkatest.Fake(t)
	alive := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, alive, 1)
	for i := range 10 { // each asks one of the two first, by chance
		c := Cluster{Brokers: []string{dead, alive}}
		if i%2 == 1 {
			c.Brokers = []string{alive, dead}
		}
		p, err := NewPublisher(PublisherConfig{Cluster: c, SendTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Ensure(t.Context(), []string{topic}); err != nil {
			t.Errorf("finding the topic: %v", err)
		}
		if err := p.Publish(topic, numbered(i, 1)...); err != nil {
			t.Error(err)
		}
		_ = p.Close()
		s, err := NewSubscriber(SubscriberConfig{Cluster: c})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Subscribe(t.Context(), topic); err != nil {
			t.Errorf("subscribing: %v", err)
		}
		_ = s.Close()
	}
}

// leaderless has brokers say that a topic has so many partitions, and that one has no leader. 0: what is so.
func leaderless(t *testing.T, fake *kfake.Cluster, topic string, one int32) (partitions, asked *atomic.Int32) {
	t.Helper()
	partitions, asked = new(atomic.Int32), new(atomic.Int32)
	host, port, err := net.SplitHostPort(kafkatest.Addr(fake))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	fake.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if partitions.Load() == 0 {
			return nil, nil, false //nolint:nilnil // then it is the broker that answers
		}
		asked.Add(1)
		resp := kreq.ResponseKind().(*kmsg.MetadataResponse)
		resp.Brokers = []kmsg.MetadataResponseBroker{{Host: host, Port: int32(n)}}
		st := kmsg.NewMetadataResponseTopic()
		st.Topic = &topic
		for i := range partitions.Load() {
			sp := kmsg.NewMetadataResponseTopicPartition()
			if sp.Partition = i; i == one {
				sp.ErrorCode, sp.Leader = kerr.LeaderNotAvailable.Code, -1
			}
			st.Partitions = append(st.Partitions, sp)
		}
		resp.Topics = []kmsg.MetadataResponseTopic{st}
		return resp, nil, true
	})
	return partitions, asked
}

// forPartition is a message whose key has it go to one of n partitions.
func forPartition(t *testing.T, id string, partition, n int32) *message.Message {
	t.Helper()
	for seed := 0; ; seed++ {
		key := strconv.Itoa(seed)
		i, err := sarama.NewHashPartitioner("").Partition(&sarama.ProducerMessage{Key: sarama.StringEncoder(key)}, n)
		if err != nil {
			t.Fatal(err)
		}
		if i == partition {
			m := message.NewMessage(id, nil)
			m.Metadata.Set(channel.HeaderKey, key)
			return m
		}
	}
}

// One partition of a topic has no leader. Breaks if a publisher does not write to the others after they have failed once, or
// when it begins.
func TestPublishBesideAPartitionWithoutALeader(t *testing.T) {
	fake, p, topic := writing(t, 2, func(c *PublisherConfig) { c.SendTimeout = 15 * time.Second })
	if err := p.Publish(topic, forPartition(t, "1", 1, 2)); err != nil {
		t.Fatal(err)
	}
	partitions, _ := leaderless(t, fake, topic, 0)
	partitions.Store(2)
	once := true
	intercept(t, fake, func(produced) (*kerr.Error, []int32) {
		if once {
			once = false
			return kerr.NotLeaderForPartition, nil
		}
		return nil, nil
	})
	if err := p.Publish(topic, forPartition(t, "2", 1, 2)); err != nil {
		t.Errorf("a publisher that has written before: %v", err)
	}
	begins, err := NewPublisher(p.conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = begins.Close() }()
	if err := begins.Publish(topic, forPartition(t, "3", 1, 2)); err != nil {
		t.Errorf("a publisher that begins: %v", err)
	}
}

// A topic gets two partitions, one of which has no leader. Breaks if a subscriber without a group does not read the other before
// that has one.
func TestFollowBesideAPartitionWithoutALeader(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	s, err := NewSubscriber(SubscriberConfig{Cluster: p.conf.Cluster, RefreshInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin(p.conf.Cluster.Brokers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	partitions, _ := leaderless(t, fake, topic, 1)
	partitions.Store(1)
	if err := admin.CreatePartitions(topic, 3, nil, false); err != nil {
		t.Fatal(err)
	}
	partitions.Store(3)
	if err := p.Publish(topic, forPartition(t, "1", 2, 3)); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-messages:
		m.Ack()
	case <-time.After(30 * time.Second):
		t.Error("nothing is read from a new partition that has a leader")
	}
}

// A batch may have been written, and then its partition has no leader, for longer than its sender waits. It is given up with
// him. Breaks if it is held and leaders are asked for until there is one, and written then, beside what was published again.
func TestAbandonedWithoutALeader(t *testing.T) {
	fake, p, topic := writing(t, 2, func(c *PublisherConfig) { c.SendTimeout = time.Second })
	partitions, asked := leaderless(t, fake, topic, 0)
	once := true
	intercept(t, fake, func(produced) (*kerr.Error, []int32) {
		if once {
			once = false
			partitions.Store(2)
			return kerr.NotLeaderForPartition, nil
		}
		return nil, nil
	})
	m := forPartition(t, "1", 0, 2)
	if err := p.Publish(topic, m); !errors.Is(err, ErrUnknown) {
		t.Fatalf("a message that may have been written: %v", err)
	}
	for begun := time.Now(); ; {
		held := make(chan bool)
		p.writer.do(func() { held <- p.writer.topics[topic].partitions[0].batch != nil })
		if !<-held {
			break
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("the batch is held, and its leader was asked for %d times", asked.Load())
		}
		time.Sleep(10 * time.Millisecond)
	}
	partitions.Store(0)
	for n := 1; p.Publish(topic, m) != nil; n++ {
		if n == 20 {
			t.Fatal("nothing is written any more")
		}
	}
	if n := fake.PartitionInfo(topic, 0).HighWatermark; n != 1 {
		t.Errorf("it is there %d times", n)
	}
}
