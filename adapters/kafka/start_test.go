package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A group that begins with the newest message begins once: what comes after that is read, though nobody was there, or
// nothing was finished before the next member came. Breaks if a member that finds nothing committed looks where the
// end is now.
func TestNewestIsDecidedOnce(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	publish := func(t *testing.T, topic, id string) {
		t.Helper()
		p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{addr}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(topic, message.NewMessage(id, []byte(id))); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	}
	// first claims the topic as a member of the group, and gives the first record to do.
	first := func(t *testing.T, topic string, begun func(), do func(adapters.Claim, *adapters.Record)) {
		t.Helper()
		s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{addr}}, Group: topic, Start: Newest, DrainTimeout: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err = s.Claim(ctx, []string{topic}, func(c adapters.Claim) {
			defer cancel()
			begun()
			run, err := c.Next(make([]*adapters.Record, 0, 1))
			if err != nil {
				t.Errorf("nothing was read: %v", err)
				return
			}
			do(c, run[0])
		})
		if err != nil {
			t.Error(err)
		}
	}
	want := func(id string) func(adapters.Claim, *adapters.Record) {
		return func(c adapters.Claim, r *adapters.Record) {
			if r.ID != id {
				t.Errorf("%s was read first, want %s", r.ID, id)
			}
			c.Finish([]*adapters.Record{r})
		}
	}
	nothing := func() {}
	t.Run("before there is a member", func(t *testing.T) {
		topic := kafkatest.Topic(t, addr, 1)
		publish(t, topic, "old")
		s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{addr}}, Group: topic, Start: Newest})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second changes nothing
			if err := s.SubscribeInitialize(topic); err != nil {
				t.Fatal(err)
			}
			publish(t, topic, "new")
		}
		_ = s.Close()
		first(t, topic, nothing, want("new"))
	})
	t.Run("by its first member", func(t *testing.T) {
		topic := kafkatest.Topic(t, addr, 1)
		publish(t, topic, "old")
		first(t, topic, func() { publish(t, topic, "new") }, func(adapters.Claim, *adapters.Record) {}) // it finishes nothing
		publish(t, topic, "newer")
		first(t, topic, nothing, want("new"))
	})
	t.Run("by its first member, at the second try", func(t *testing.T) {
		fake := kafkatest.Fake(t)
		addr := kafkatest.Addr(fake)
		topic := kafkatest.Topic(t, addr, 1)
		failed := false
		fake.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
			if failed {
				return nil, nil, false //nolint:nilnil // The fake answers by itself.
			}
			failed = true
			return nil, fmt.Errorf("the connection breaks"), true
		})
		s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{addr}}, Group: topic, Start: Newest})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if err := s.SubscribeInitialize(topic); err != nil || !failed {
			t.Errorf("a commit failed: %t; then %v", failed, err)
		}
	})
}

// A topic that is there has a partition without a leader. With Create the subscriber waits for it for DialTimeout, then begins
// with the others. Breaks if it waits for ever: then nothing of the process begins, and Close does not return.
func TestPartitionWithoutALeader(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, addr, 2)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	fake.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req, resp := r.(*kmsg.MetadataRequest), r.ResponseKind().(*kmsg.MetadataResponse)
		if len(req.Topics) != 1 {
			return nil, nil, false //nolint:nilnil // The fake answers by itself.
		}
		resp.ControllerID = 0
		resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(number)}}
		resp.Topics = []kmsg.MetadataResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.MetadataResponseTopicPartition{
			{Partition: 0, Leader: 0}, {Partition: 1, Leader: -1, ErrorCode: kerr.LeaderNotAvailable.Code},
		}}}
		return resp, nil, true
	})
	s, err := NewSubscriber(SubscriberConfig{
		Cluster: Cluster{Brokers: []string{addr}, DialTimeout: 500 * time.Millisecond}, Group: topic, Create: &Create{},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.SubscribeInitialize(topic); err != nil {
		t.Error(err)
	}
}

// Claim without a group begins at Start, as Subscribe does. Breaks if it is taken for a Follow, which reads all there is.
func TestClaimWithoutAGroupBeginsAtStart(t *testing.T) {
	c := newCrowd(t, kafkatest.Addr(kafkatest.Fake(t)), 1)
	c.publish("old")
	s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{c.addr}}, Start: Newest})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first := ""
	if err := s.Claim(ctx, []string{c.topic}, func(x adapters.Claim) {
		c.publish("new")
		if run, err := x.Next(make([]*adapters.Record, 0, 1)); err == nil {
			first = run[0].ID
			cancel()
		}
	}); err != nil || first != "new" {
		t.Errorf("the first is %q: %v; want new", first, err)
	}
}

// A subscriber that is closed gives none that reads, and one keeps no group that is closed. Breaks if somebody who asks for a
// group after Close reads on for ever, or groups that come and go are kept.
func TestGroupsOfAClosedSubscriber(t *testing.T) {
	c := newCrowd(t, kafkatest.Addr(kafkatest.Fake(t)), 1)
	s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{c.addr}}})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Group("short").Close()
	if len(s.children) != 0 {
		t.Errorf("%d groups are kept that are closed", len(s.children))
	}
	_ = s.Close()
	g := s.Group("late")
	defer func() { _ = g.Close() }()
	for name, reads := range map[string]message.Subscriber{"group": g, "none": s.Group("")} {
		if _, err := reads.Subscribe(t.Context(), c.topic); !errors.Is(err, adapters.ErrClosed) {
			t.Errorf("%s: a subscriber that is closed reads: %v", name, err)
		}
	}
}
