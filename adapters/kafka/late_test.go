package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A message is given up while its answer arrives: whoever is first says what became of it, and nobody else
// touches it. That both write at once is the race detector's to find.
func TestAnswerAtTheLastMoment(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	first := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	begun := time.Now()
	const n = 200
	for i := range n { // how long an answer takes
		if err := first.Publish(topic, message.NewMessage(fmt.Sprint(i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr), SendTimeout: time.Since(begun) / n})
	ms := make([]*message.Message, 50)
	for i := range n {
		for j := range ms {
			ms[j] = message.NewMessage(fmt.Sprint(i, j), nil)
		}
		err := p.Publish(topic, ms...)
		var failed *kafka.PublishError
		if err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if failed == nil {
			continue
		}
		for _, f := range failed.Failed {
			if f.Err == nil || f.Message == nil {
				t.Fatalf("a failure without a reason: %+v", f)
			}
		}
	}
}

// A context may have ended before its message is published.
func TestContextThatHasEnded(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 1000 {
		m := message.NewMessage(fmt.Sprint(i), nil)
		m.SetContext(ctx)
		if err := p.Publish(topic, m); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// A new partition has a leader before that knows of it. A follower tries again.
func TestFollowerOfANewPartition(t *testing.T) {
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, kafkatest.Addr(fake), 1)
	var refused atomic.Int32
	fake.ControlKey(kmsg.ListOffsets.Int16(), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 5 {
			return nil, nil, false //nolint:nilnil // it is the broker that answers
		}
		fake.KeepControl()
		req := kreq.(*kmsg.ListOffsetsRequest)
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewListOffsetsResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewListOffsetsResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, 6 // NOT_LEADER_OR_FOLLOWER
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(kafkatest.Addr(fake))})
	if _, err := s.Subscribe(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if refused.Load() <= 5 {
		t.Fatalf("%d requests were refused, want 5", refused.Load())
	}
}
