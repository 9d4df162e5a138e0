package kafka_test

import (
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A subscriber that is an instance makes a subscription when it is in the group already, and another in the same group by
// Group: each reads, and goes on. Breaks if a later member has the name of the first: that one is expelled for good.
func TestLaterMembersOfAnInstance(t *testing.T) {
	addr := kafkatest.Shared(t).Addr()
	topics := []string{kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)}
	s := subscriber(t, kafka.SubscriberConfig{Cluster: cluster(addr), Group: topics[0], Instance: "x", HeartbeatInterval: 100 * time.Millisecond})
	p := publisher(t, kafka.PublisherConfig{Cluster: cluster(addr)})
	subs := []message.Subscriber{s, s, s.Group(topics[0])}
	var all []<-chan *message.Message
	read := func(i int) {
		t.Helper()
		if err := p.Publish(topics[i], message.NewMessage("", nil)); err != nil {
			t.Fatal(err)
		}
		m, open := <-all[i]
		if !open {
			t.Fatalf("subscription %d of %d has ended", i, len(all))
		}
		m.Ack()
	}
	for i, of := range subs {
		messages, err := of.Subscribe(t.Context(), topics[i])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, messages)
		read(i) // so that the member is in the group
	}
	admin, err := sarama.NewClusterAdmin([]string{addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	for deadline := time.Now().Add(30 * time.Second); ; {
		groups, err := admin.DescribeConsumerGroups([]string{topics[0]})
		if err != nil {
			t.Fatal(err)
		}
		var in []string
		for _, m := range groups[0].Members {
			in = append(in, *m.GroupInstanceId)
		}
		slices.Sort(in)
		if slices.Equal(in, []string{"x", "x-2", "x-3"}) && groups[0].State == "Stable" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("members of the group are %v, and it is %s", in, groups[0].State)
		}
	}
	for i := range all {
		read(i)
	}
}
