package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// A message whose context has ended is not sent, and another of the same call is. Breaks if it is published though its
// sender has been told that it failed.
func TestContextThatHasEnded(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errChanged)
	ended, other := message.NewMessage("ended", nil), message.NewMessage("other", nil)
	ended.SetContext(ctx)
	err := p.Publish(topic, ended, other)
	var failed *kafka.PublishError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Message != ended {
		t.Fatalf("publishing gives %v", err)
	}
	if err := failed.Failed[0].Err; !errors.Is(err, errChanged) || errors.Is(err, kafka.ErrUnknown) {
		t.Errorf("it failed because %v", err)
	}
	out, err := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr)}).Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	m := <-out
	m.Ack()
	if m.UUID != "other" {
		t.Errorf("message %q was published", m.UUID)
	}
}

var errChanged = errors.New("the sender has changed its mind")

// A context that ends while its message is with a broker that does not answer ends the wait, and what became of the
// message is unknown. Breaks if only SendTimeout ends it, or if all that is under way fails with it.
func TestContextThatEnds(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, addr, 1)
	asked, answer := make(chan struct{}), make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) }) // it is called for each request
	fake.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		fake.SleepControl(func() {
			ask()
			<-answer
		})
		return nil, nil, false //nolint:nilnil // then it is the broker that answers
	})
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr), SendTimeout: time.Hour})
	ctx, cancel := context.WithCancelCause(t.Context())
	m := message.NewMessage("1", nil)
	m.SetContext(ctx)
	failed, other := make(chan error, 1), make(chan error, 1)
	go func() { failed <- p.Publish(topic, m) }()
	<-asked
	go func() { other <- p.Publish(topic, message.NewMessage("2", nil)) }()
	cancel(errChanged)
	if err := <-failed; !errors.Is(err, errChanged) || !errors.Is(err, kafka.ErrUnknown) {
		t.Errorf("publishing gives %v", err)
	}
	close(answer)
	if err := <-other; err != nil {
		t.Errorf("another message failed: %v", err)
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
