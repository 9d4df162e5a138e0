package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
)

// transactor gives a publisher without a TransactionalID, and whose messages it works on.
func transactor(t *testing.T, addr, group, instance string) (*Publisher, *Subscriber) {
	t.Helper()
	c := Cluster{Brokers: []string{addr}}
	p, err := NewPublisher(PublisherConfig{Cluster: c})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	s, err := NewSubscriber(SubscriberConfig{Cluster: c, Group: group, Instance: instance})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return p, s
}

// Without a name there are no transactions, and what is to be done about it is said before anything is read. Breaks if a
// group alone is taken for a name, which others have.
func TestRecoverWithoutAName(t *testing.T) {
	p, s := transactor(t, kafkatest.Addr(kafkatest.Fake(t)), "group", "")
	for _, err := range []error{p.Recover(t.Context(), []message.Subscriber{s}), p.Transact(t.Context(), nil, some("topic"))} {
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "TransactionalID") {
			t.Errorf("without a name: %v", err)
		}
	}
}

// A flow could not be started, and another one is, by the same publisher. Breaks if that commits under the name of the first,
// which a third process may have, or if one that runs loses its name to a third that cannot start.
func TestRecoverInVain(t *testing.T) {
	p, s := transactor(t, kafkatest.Addr(kafkatest.Fake(t)), "group", "one")
	gone, end := context.WithCancel(t.Context())
	end()
	if err := p.Recover(gone, []message.Subscriber{s.Group("a")}); err == nil {
		t.Fatal("recovered by a context that has ended")
	}
	if err := p.Recover(t.Context(), []message.Subscriber{s.Group("b")}); err != nil || p.tx.id != "b-one" {
		t.Errorf("it has the name %q: %v", p.tx.id, err)
	}
	p.tx.discard() // as after a transaction that came to nothing
	if err := p.Recover(gone, []message.Subscriber{s.Group("c")}); err == nil || p.tx.id != "b-one" {
		t.Errorf("the flow that runs has the name %q: %v", p.tx.id, err)
	}
}

// A process is killed in the middle of a transaction. The one that comes after it, of the same group and instance, goes on at
// once. Breaks if it waits for the transaction to time out.
func TestRecover(t *testing.T) {
	t.Run("fake", func(t *testing.T) { testRecover(t, kafkatest.Addr(kafkatest.Fake(t))) })
	t.Run("real", func(t *testing.T) { testRecover(t, kafkatest.Shared(t).Addr()) })
}

func testRecover(t *testing.T, addr string) {
	t.Helper()
	in, out := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	leaveOpen(t, addr, in+"-one", in, out)
	p, s := transactor(t, addr, in, "one")
	if err := p.Recover(t.Context(), []message.Subscriber{s}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // half of the transaction's time
	defer cancel()
	var run []*adapters.Record
	if err := s.Claim(ctx, []string{in}, func(x adapters.Claim) {
		run, _ = x.Next(make([]*adapters.Record, 0, 1))
		if err := p.Transact(t.Context(), []adapters.Finished{{Claim: x, Records: run}}, relay(out, run)); err != nil {
			t.Error(err)
		}
		cancel()
	}); err != nil {
		t.Error(err)
	}
	if len(run) == 0 {
		t.Fatal("nothing was read while the earlier transaction could still be open")
	}
	if all := committedOn(t, addr, out); len(all) != 1 || all["in"] != 1 {
		t.Errorf("on the topic are %v; want what was relayed, once", all)
	}
}

// leaveOpen reads a message of a group, writes in a transaction what came of it, and ends without a word.
func leaveOpen(t *testing.T, addr, id, in, out string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute),
		kgo.MaxVersions(kversion.V3_0_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	plain, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	err = plain.ProduceSync(t.Context(), &kgo.Record{Topic: in, Value: []byte("in")}).FirstErr()
	if err = errors.Join(err, client.BeginTransaction()); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: out, Value: []byte("undone")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	add, commit := kmsg.NewPtrAddOffsetsToTxnRequest(), kmsg.NewPtrTxnOffsetCommitRequest()
	add.TransactionalID, add.Group, commit.TransactionalID, commit.Group = id, in, id, in
	if add.ProducerID, add.ProducerEpoch, err = client.ProducerID(t.Context()); err != nil {
		t.Fatal(err)
	}
	commit.ProducerID, commit.ProducerEpoch = add.ProducerID, add.ProducerEpoch
	topic, partition := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	topic.Topic, partition.Offset = in, 1
	topic.Partitions = append(topic.Partitions, partition)
	commit.Topics = append(commit.Topics, topic)
	added, err := add.RequestWith(t.Context(), client)
	if err = errors.Join(err, kerr.ErrorForCode(added.ErrorCode)); err != nil {
		t.Fatal(err)
	}
	done, err := commit.RequestWith(t.Context(), client)
	if err = errors.Join(err, kerr.ErrorForCode(done.Topics[0].Partitions[0].ErrorCode)); err != nil {
		t.Fatal(err)
	}
}
