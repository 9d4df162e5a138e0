package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A session that is ended for a reason of the caller's own is not lost: what is in flight can be finished.
func TestEndOfSession(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	endSession(end, errors.New("it is Friday"))
	if cause := context.Cause(ctx); isLoss(cause) {
		t.Errorf("partitions are lost for %v", cause)
	}
	if !isLoss(errors.New("anything else")) {
		t.Error("nothing is a loss")
	}
}

// The last commit has a time of its own: what was finished in time is not delivered again because the group was
// between two generations. Breaks if the drain's clock goes on behind own.
func TestLastCommit(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	const drain = 50 * time.Millisecond
	topic := kafkatest.Topic(t, addr, 1)
	p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{addr}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	done := make(chan struct{})
	p.Send([]*adapters.Outgoing{{Topic: topic, ID: "1"}}, func([]*adapters.Outgoing) { close(done) })
	<-done
	var first time.Time
	fake.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if first.IsZero() {
			first = time.Now()
		}
		if time.Since(first) > 5*drain {
			return nil, nil, false //nolint:nilnil // The fake answers by itself.
		}
		req, resp := r.(*kmsg.OffsetCommitRequest), r.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, t := range req.Topics {
			rt := kmsg.OffsetCommitResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				rt.Partitions = append(rt.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.RebalanceInProgress.Code})
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	s, err := NewSubscriber(SubscriberConfig{Cluster: Cluster{Brokers: []string{addr}}, Group: topic, DrainTimeout: drain, CommitInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	var last *claim
	err = s.Claim(ctx, []string{topic}, func(c adapters.Claim) {
		defer cancel()
		run, err := c.Next(make([]*adapters.Record, 0, 1))
		if err != nil {
			t.Error(err)
			return
		}
		c.Finish(run)
		last = c.(*claim)
	})
	if err != nil {
		t.Fatal(err)
	}
	if last == nil || last.offset != 1 {
		t.Error("what was finished is not committed")
	}
}
