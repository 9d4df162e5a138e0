package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

func transactional(t *testing.T, addr string, timeout time.Duration) *Publisher {
	t.Helper()
	p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{addr}}, TransactionalID: t.Name(), TransactionTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// some are messages that no record has caused.
func some(topic string) []*adapters.Outgoing {
	return []*adapters.Outgoing{{Topic: topic, ID: "1", Payload: []byte("1")}, {Topic: topic, ID: "2", Payload: []byte("2")}}
}

// A batch of a transaction may have been written, and is then refused. The transaction is aborted, and the next one is
// committed under the same name. Breaks if the rest of it is written under an identity that no coordinator knows.
func TestRefusedInATransaction(t *testing.T) {
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, kafkatest.Addr(fake), 1)
	p := transactional(t, kafkatest.Addr(fake), 0)
	var nameless atomic.Int32
	fake.ControlKey(int16(kmsg.InitProducerID), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if kreq.(*kmsg.InitProducerIDRequest).TransactionalID == nil {
			nameless.Add(1)
		}
		return nil, nil, false //nolint:nilnil // then it is the broker that answers
	})
	answers := []*kerr.Error{kerr.KafkaStorageError, kerr.InvalidProducerEpoch}
	intercept(t, fake, func(produced) (err *kerr.Error, _ []int32) {
		if len(answers) > 0 {
			err, answers = answers[0], answers[1:]
		}
		return err, nil
	})
	outs := some(topic)
	for _, o := range outs { // each a batch of its own
		o.Payload = make([]byte, 700_000)
	}
	if err := p.Transact(t.Context(), nil, outs); err == nil || errors.Is(err, adapters.ErrFenced) || errors.Is(err, adapters.ErrLost) {
		t.Fatalf("a transaction that was refused: %v", err)
	}
	if err := p.Transact(t.Context(), nil, some(topic)); err != nil {
		t.Fatal(err)
	}
	if n := nameless.Load(); n != 0 {
		t.Errorf("%d identities of no transactional id were asked for", n)
	}
	if all := committedOn(t, kafkatest.Addr(fake), topic); len(all) != 2 || all["1"] != 1 || all["2"] != 1 {
		t.Errorf("on the topic are %v", all)
	}
}

// A batch of a transaction is refused for good while nobody knows of another. The transaction is aborted then, and the message
// that was refused says why. Breaks if it waits until TransactionTimeout for the other, and nobody is to blame.
func TestRefusedBesideADoubtfulBatch(t *testing.T) {
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, kafkatest.Addr(fake), 2)
	p := transactional(t, kafkatest.Addr(fake), time.Minute)
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		if x.partition == 0 {
			return kerr.RequestTimedOut, nil
		}
		return kerr.MessageTooLarge, nil
	})
	var outs []*adapters.Outgoing
	for i := range 20 {
		outs = append(outs, &adapters.Outgoing{Topic: topic, ID: fmt.Sprint(i), Key: fmt.Sprint(i)})
	}
	begun := time.Now()
	if err := p.Transact(t.Context(), nil, outs); !channel.IsPermanent(err) {
		t.Errorf("a transaction of which a part is refused: %v", err)
	}
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	if !slices.ContainsFunc(outs, func(o *adapters.Outgoing) bool { return channel.IsPermanent(o.Err) }) {
		t.Error("no message says that it was refused")
	}
}

// A partition cannot be written to until TransactionTimeout. The messages for it say so, and the others are committed without
// them. Breaks if nobody is to blame: then the whole flow waits for that partition.
func TestAPartitionIsDownInATransaction(t *testing.T) {
	fake := kafkatest.Fake(t, kfake.NumBrokers(2))
	addr := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, addr, 2)
	for i := range int32(2) { // a request that one of them refuses would take the other along
		if err := fake.MoveTopicPartition(topic, i, i); err != nil {
			t.Fatal(err)
		}
	}
	p := transactional(t, addr, 3*time.Second)
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		if x.partition == 1 {
			return kerr.NotEnoughReplicas, nil
		}
		return nil, nil
	})
	var outs []*adapters.Outgoing
	for i := range 20 {
		outs = append(outs, &adapters.Outgoing{Topic: topic, ID: fmt.Sprint(i), Key: fmt.Sprint(i)})
	}
	if err := p.Transact(t.Context(), nil, outs); !errors.Is(err, errUnanswered) || errors.Is(err, adapters.ErrLost) {
		t.Errorf("a transaction of which a part cannot be written: %v", err)
	}
	healthy := slices.DeleteFunc(slices.Clone(outs), func(o *adapters.Outgoing) bool { return o.Err != nil })
	if n := len(healthy); n == 0 || n == len(outs) {
		t.Fatalf("%d of %d messages are to blame", len(outs)-n, len(outs))
	}
	if err := p.Transact(t.Context(), nil, healthy); err != nil {
		t.Error(err)
	}
}

// A batch of a transaction may have been written, and then the broker takes smaller ones only. The transaction is aborted, and
// committed the next time. Breaks if each of its messages is blamed, and so dies, though none is too large.
func TestTooLargeAfterADoubtInATransaction(t *testing.T) {
	fake := kafkatest.Fake(t)
	topic := kafkatest.Topic(t, kafkatest.Addr(fake), 1)
	p := transactional(t, kafkatest.Addr(fake), 0)
	smaller(t, fake, 1)
	outs := some(topic)
	for _, o := range outs {
		o.Key = "key" // one batch
	}
	err := p.Transact(t.Context(), nil, outs)
	if err == nil || channel.IsPermanent(err) {
		t.Errorf("a transaction of which a batch was refused: %v", err)
	}
	for _, o := range outs {
		if o.Err != nil {
			t.Errorf("message %s, which is not too large: %v", o.ID, o.Err)
		}
	}
	if err := p.Transact(t.Context(), nil, outs); err != nil {
		t.Error(err)
	}
	if all := committedOn(t, kafkatest.Addr(fake), topic); len(all) != 2 || all["1"] != 1 || all["2"] != 1 {
		t.Errorf("on the topic are %v", all)
	}
}

// A topic that is not there is named by the message for it, and the others are committed without that. Breaks if nobody is to
// blame: then the whole flow waits for the topic.
func TestMissingTopicInATransaction(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	p := transactional(t, addr, 0)
	outs := append(some(topic), &adapters.Outgoing{Topic: "nowhere", ID: "3"})
	if err := p.Transact(t.Context(), nil, outs); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a transaction with a message for a topic that is not there: %v", err)
	}
	if outs[0].Err != nil || outs[1].Err != nil || !errors.Is(outs[2].Err, ErrNoTopic) {
		t.Errorf("the messages say %v, %v and %v; want that the third has no topic", outs[0].Err, outs[1].Err, outs[2].Err)
	}
	if err := p.Transact(t.Context(), nil, outs[:2]); err != nil {
		t.Error(err)
	}
}

// A topic that may not be written to is named by the message for it, also where partitions of others are to be added to the
// transaction with it. Breaks if nobody is to blame, since the coordinator adds none of them then.
func TestForbiddenTopicInATransaction(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	topic, forbidden := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	p := transactional(t, addr, 0)
	outs := append(some(topic), &adapters.Outgoing{Topic: forbidden, ID: "3"})
	if err := p.Transact(t.Context(), nil, outs); err != nil { // now it knows both leaders, and adds both at once
		t.Fatal(err)
	}
	fake.ControlKey(int16(kmsg.AddPartitionsToTxn), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req := kreq.(*kmsg.AddPartitionsToTxnRequest)
		if !slices.ContainsFunc(req.Topics, func(x kmsg.AddPartitionsToTxnRequestTopic) bool { return x.Topic == forbidden }) {
			return nil, nil, false //nolint:nilnil // then it is the broker that answers
		}
		resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewAddPartitionsToTxnResponseTopic()
			st.Topic = rt.Topic
			for _, i := range rt.Partitions {
				sp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				sp.Partition, sp.ErrorCode = i, kerr.OperationNotAttempted.Code
				if rt.Topic == forbidden {
					sp.ErrorCode = kerr.TopicAuthorizationFailed.Code
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	if err := p.Transact(t.Context(), nil, outs); !errors.Is(err, sarama.ErrTopicAuthorizationFailed) {
		t.Errorf("a transaction with a message for a topic that is forbidden: %v", err)
	}
	if outs[0].Err != nil || outs[1].Err != nil || !errors.Is(outs[2].Err, sarama.ErrTopicAuthorizationFailed) {
		t.Errorf("the messages say %v, %v and %v; want that the third is forbidden", outs[0].Err, outs[1].Err, outs[2].Err)
	}
	if err := p.Transact(t.Context(), nil, outs[:2]); err != nil {
		t.Error(err)
	}
}

// A transaction of what comes from no claim is committed, and the answer is lost. Nobody can find out which it was, and it
// says so. Breaks if it is said to have been aborted: then it is done again.
func TestLostAnswerWithoutAClaim(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	cut := newScissors(endTxnKey, 1)
	cut.lose.Store(1)
	p := cutPublisher(t, addr, cut)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Transact(ctx, nil, some(topic)); !errors.Is(err, adapters.ErrLost) {
		t.Errorf("a transaction of which nobody knows: %v", err)
	}
	if all := committedOn(t, addr, topic); len(all) != 2 {
		t.Errorf("on the topic are %v", all)
	}
}

// A transaction takes longer than it may, and the broker aborts it: it calls that a fence, too. Breaks if the flow ends
// because another process is said to have its name.
func TestTransactionTakesTooLong(t *testing.T) {
	const timeout = 300 * time.Millisecond
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	both := halves(t, addr, 5)
	topic := kafkatest.Topic(t, addr, 1)
	p := transactional(t, addr, timeout)
	fake.ControlKey(int16(kmsg.EndTxn), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.SleepControl(func() { <-time.After(timeout) })
		resp := kreq.ResponseKind().(*kmsg.EndTxnResponse)
		resp.ErrorCode = kerr.ProducerFenced.Code
		return resp, nil, true
	})
	finished := []adapters.Finished{{Claim: both[0].claim, Records: both[0].run}}
	outs := relay(topic, both[0].run)
	if err := p.Transact(t.Context(), finished, outs); err == nil || errors.Is(err, adapters.ErrFenced) || errors.Is(err, adapters.ErrLost) {
		t.Fatalf("a transaction that took too long: %v", err)
	}
	for n := 1; ; n++ {
		err := p.Transact(t.Context(), finished, outs)
		if err == nil {
			break
		}
		if n == 20 { // the machine may be as slow, but not for ever
			t.Fatal(err)
		}
	}
	if all := committedOn(t, addr, topic); len(all) != 5 {
		t.Errorf("on the topic are %v", all)
	}
}

// A machine sleeps while a transaction is under way, and the broker aborts it. Breaks if the time is measured by a clock that stands
// still meanwhile: then it is taken for a fence, and the flow ends.
func TestTransactionsAreTimedByTheWall(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	p := transactional(t, addr, 0)
	if err := p.Transact(t.Context(), nil, some(topic)); err != nil {
		t.Fatal(err)
	}
	if since := p.tx.since; since != since.Round(0) {
		t.Errorf("a transaction is timed from %v", since)
	}
}

// A broker takes no notes as long as ours. The transaction is aborted, and tried again with a shorter one. Breaks if the
// note is the same for ever.
func TestNoteTooLongForATransaction(t *testing.T) {
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	h, other := halves(t, addr, 5)[0], kafkatest.Topic(t, addr, 1)
	p := transactional(t, addr, 0)
	was := h.claim.listing
	fake.ControlKey(int16(kmsg.TxnOffsetCommit), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req := kreq.(*kmsg.TxnOffsetCommitRequest)
		resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewTxnOffsetCommitResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				sp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.OffsetMetadataTooLarge.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	finished := []adapters.Finished{{Claim: h.claim, Records: h.run}}
	if err := p.Transact(t.Context(), finished, relay(other, h.run)); !errors.Is(err, sarama.ErrOffsetMetadataTooLarge) {
		t.Fatalf("a transaction with a note that is too long: %v", err)
	}
	if h.claim.listing != was/2 {
		t.Errorf("the next note lists %d, after one of %d", h.claim.listing, was)
	}
	if err := p.Transact(t.Context(), finished, relay(other, h.run)); err != nil {
		t.Error(err)
	}
}

// Another process has the name. Breaks if both go on, each ending the other's transactions.
func TestFenced(t *testing.T) {
	fake := kafkatest.Fake(t, kfake.NumBrokers(1))
	addr := kafkatest.Addr(fake)
	topic := kafkatest.Topic(t, addr, 1)
	first, second := transactional(t, addr, 0), transactional(t, addr, 0)
	for _, p := range []*Publisher{first, second} {
		if err := p.Transact(t.Context(), nil, some(topic)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := first.Transact(t.Context(), nil, some(topic)); !errors.Is(err, adapters.ErrFenced) {
			t.Errorf("the first process: %v", err)
		}
	}
	if err := second.Transact(t.Context(), nil, some(topic)); err != nil {
		t.Errorf("the second process: %v", err)
	}
}

func TestTransactAfterClose(t *testing.T) {
	addr := kafkatest.Addr(kafkatest.Fake(t))
	topic := kafkatest.Topic(t, addr, 1)
	p := transactional(t, addr, 0)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Transact(t.Context(), nil, some(topic)); !errors.Is(err, adapters.ErrClosed) {
		t.Errorf("a transaction of a closed publisher: %v", err)
	}
}
