package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

// writing gives a publisher of a Kafka in the process, and a topic of it.
func writing(t *testing.T, partitions int, change func(*PublisherConfig)) (*kfake.Cluster, *Publisher, string) {
	t.Helper()
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	c := PublisherConfig{Cluster: Cluster{Brokers: []string{addr}}}
	if change != nil {
		change(&c)
	}
	p, err := NewPublisher(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return fake, p, kafkatest.Topic(t, addr, partitions)
}

// numbered are messages 0 to n, of one key.
func numbered(from, n int) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = message.NewMessage(fmt.Sprint(from+i), []byte("body"))
		ms[i].Metadata.Set(channel.HeaderKey, "key")
	}
	return ms
}

// written gives the ids on a topic of one partition, in order.
func written(t *testing.T, fake *kfake.Cluster, topic string) string {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(kafkatest.Addr(fake)), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const end = "end"
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Headers: []kgo.RecordHeader{{Key: HeaderID, Value: []byte(end)}}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for len(ids) == 0 || ids[len(ids)-1] != end {
		fs := c.PollFetches(t.Context())
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { ids = append(ids, string(r.Headers[0].Value)) })
	}
	return strings.Join(ids[:len(ids)-1], " ")
}

// fetched gives the first n records of a topic, as another client reads them.
func fetched(t *testing.T, fake *kfake.Cluster, topic string, n int) (all []*kgo.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(kafkatest.Addr(fake)), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(all) < n {
		fs := c.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("%d of %d records are on the topic: %v", len(all), n, err)
		}
		all = append(all, fs.Records()...)
	}
	return all
}

// A produced is one partition's part of a request.
type produced struct {
	partition int32
	acks      int16 // of the request
	records   kmsg.RecordBatch
}

// intercept has f answer each part of requests to produce: with an error, or, if it gives none, the broker does so.
// f is called by one goroutine.
func intercept(t *testing.T, fake *kfake.Cluster, f func(produced) (*kerr.Error, []int32)) {
	t.Helper()
	fake.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req := kreq.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		refused := false
		for _, rt := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				x := produced{partition: rp.Partition, acks: req.Acks}
				if err := x.records.ReadFrom(rp.Records); err != nil {
					t.Error(err)
				}
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition = rp.Partition
				sp.ErrorCode = kerr.NotEnoughReplicas.Code // if another's part is refused, for then the broker sees none
				if err, bad := f(x); err != nil {
					refused = true
					sp.ErrorCode = err.Code
					for _, i := range bad {
						r := kmsg.NewProduceResponseTopicPartitionErrorRecord()
						r.RelativeOffset = i
						sp.ErrorRecords = append(sp.ErrorRecords, r)
					}
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, refused
	})
}

// The answer to a batch that was written is lost, twice. Nobody hears of it, and each message is on its topic once,
// in order. Breaks if the batch goes out again as another one.
func TestLostAnswersToABatch(t *testing.T) {
	cut := newScissors(produceKey, math.MaxInt32)
	cut.lose.Store(2)
	fake, p, topic := writing(t, 1, func(c *PublisherConfig) { c.Cluster.Dial = cut.dial })
	for i := range 5 {
		if err := p.Publish(topic, numbered(10*i, 10)...); err != nil {
			t.Fatal(err)
		}
	}
	if n := cut.lost.Load(); n != 2 {
		t.Errorf("%d answers were lost, want 2", n)
	}
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
	}
	if got := written(t, fake, topic); got != strings.Join(want, " ") {
		t.Errorf("on the topic are %s", got)
	}
}

// A batch is refused because of one record. That one fails, the others are written in order. Breaks if they fail with
// it, or if it is tried for ever.
func TestOneRecordIsRefused(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	tries := 0
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		if tries++; tries == 1 && x.records.NumRecords == 5 {
			return kerr.InvalidRecord, []int32{2}
		}
		return nil, nil
	})
	ms := numbered(0, 5)
	ms[2].Metadata[channel.HeaderKey] = "another"
	failed := failures(t, p.Publish(topic, ms...))
	if len(failed) != 1 || failed[0].Message.UUID != "2" || errors.Is(failed[0].Err, ErrUnknown) {
		t.Errorf("failed are %v, want message 2", failed)
	}
	if got := written(t, fake, topic); got != "0 1 3 4" {
		t.Errorf("on the topic are %s", got)
	}
}

// A message is refused for what may pass: for itself in a batch, or with its whole batch while others wait. Those of its key
// that were sent behind it, in the same call, are not sent. Breaks if they are, and it comes behind them when it is sent
// again.
func TestNothingPassesWhatIsRefused(t *testing.T) {
	for name, x := range map[string]struct {
		payload int
		err     *kerr.Error
		bad     []int32
		failed  int // the first that fails
		want    string
	}{
		"one of a batch":   {1, kerr.InvalidRecord, []int32{2}, 2, "0 1 other next"},
		"a batch of three": {600 << 10, kerr.TopicAuthorizationFailed, nil, 0, "other next"},
	} {
		t.Run(name, func(t *testing.T) {
			fake, p, topic := writing(t, 1, nil)
			once := true
			intercept(t, fake, func(produced) (*kerr.Error, []int32) {
				if once {
					once = false
					return x.err, x.bad
				}
				return nil, nil
			})
			var under sync.WaitGroup
			send := func(outs ...*adapters.Outgoing) {
				under.Add(len(outs))
				p.Send(outs, func(through []*adapters.Outgoing) { under.Add(-len(through)) })
				under.Wait()
			}
			var outs []*adapters.Outgoing
			for i := range 4 {
				outs = append(outs, &adapters.Outgoing{Topic: topic, ID: fmt.Sprint(i), Key: "key", Payload: make([]byte, x.payload)})
			}
			other := &adapters.Outgoing{Topic: topic, ID: "other", Key: "other"}
			send(append(outs, other)...)
			send(&adapters.Outgoing{Topic: topic, ID: "next", Key: "key"})
			for i, o := range outs {
				if (o.Err != nil) != (i >= x.failed) || errors.Is(o.Err, ErrUnknown) || channel.IsPermanent(o.Err) {
					t.Errorf("message %d: %v; want that those from %d on were not sent", i, o.Err, x.failed)
				}
			}
			if other.Err != nil {
				t.Errorf("a message of another key: %v", other.Err)
			}
			if got := written(t, fake, topic); got != x.want {
				t.Errorf("on the topic are %s, want %s", got, x.want)
			}
		})
	}
}

// The broker takes smaller batches than ours. They are made smaller, and only a message that is too large alone fails.
func TestBatchesTooLarge(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		if x.records.NumRecords > 2 || strings.Contains(string(x.records.Records), "huge") {
			return kerr.MessageTooLarge, nil
		}
		return nil, nil
	})
	ms := numbered(0, 9)
	ms[4].Payload = []byte("huge")
	failed := failures(t, p.Publish(topic, ms...))
	if len(failed) != 1 || failed[0].Message != ms[4] || !errors.Is(failed[0].Err, channel.ErrTooLarge) {
		t.Errorf("failed are %v, want message 4", failed)
	}
	if got := written(t, fake, topic); got != "0 1 2 3 5 6 7 8" {
		t.Errorf("on the topic are %s", got)
	}
}

// The broker knows nothing of a producer's earlier batches of one partition. That partition goes on under another
// identity, from 0; others keep theirs. Breaks if messages fail, or if numbers of another partition are begun anew,
// under which a batch may be on its way.
func TestForgottenByTheBroker(t *testing.T) {
	fake, p, topic := writing(t, 2, nil)
	type stamp struct {
		id    int64
		first int32
	}
	last := map[int32]stamp{}
	var forgets, forgotten atomic.Bool
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		if x.partition == 0 && forgets.CompareAndSwap(true, false) {
			forgotten.Store(true)
			return kerr.OutOfOrderSequenceNumber, nil
		}
		last[x.partition] = stamp{x.records.ProducerID, x.records.FirstSequence}
		return nil, nil
	})
	publish := func() {
		ms := make([]*message.Message, 40)
		for i := range ms {
			ms[i] = message.NewMessage(fmt.Sprint(i), nil)
		}
		if err := p.Publish(topic, ms...); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	publish()
	before := [2]stamp{last[0], last[1]}
	forgets.Store(true)
	publish()
	if !forgotten.Load() {
		t.Fatal("nothing was forgotten")
	}
	if last[0].id == before[0].id || last[0].first != 0 {
		t.Errorf("the partition that was forgotten goes on with %v after %v", last[0], before[0])
	}
	if last[1].id != before[1].id || last[1].first <= before[1].first {
		t.Errorf("the other partition goes on with %v after %v", last[1], before[1])
	}
}

// A batch may have been written, and is then refused. Its numbers are not used again: a later batch of as many messages
// would be taken for it, and be lost.
func TestRefusedAfterADoubt(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	var ids []int64
	answers := []*kerr.Error{kerr.RequestTimedOut, kerr.TopicAuthorizationFailed, nil}
	intercept(t, fake, func(x produced) (err *kerr.Error, _ []int32) {
		err, answers = answers[0], answers[1:]
		ids = append(ids, x.records.ProducerID)
		return err, nil
	})
	failed := failures(t, p.Publish(topic, numbered(0, 3)...))
	if len(failed) != 3 {
		t.Errorf("%d failed, want 3", len(failed))
	}
	for _, f := range failed {
		if !errors.Is(f.Err, ErrUnknown) {
			t.Errorf("message %s, which may have been written: %v", f.Message.UUID, f.Err)
		}
	}
	if err := p.Publish(topic, numbered(3, 3)...); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("batches came under identities %v: want one for the first two, another for the third", ids)
	}
}

// smaller has the first batch refused as one that may have been written, and then those of more records than most for their size.
func smaller(t *testing.T, fake *kfake.Cluster, most int32) {
	t.Helper()
	doubt := true
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		switch {
		case doubt:
			doubt = false
			return kerr.NotLeaderForPartition, nil
		case x.records.NumRecords > most:
			return kerr.MessageTooLarge, nil
		}
		return nil, nil
	})
}

// A batch may have been written, and then the broker takes smaller ones only. None of its messages is too large: nobody knows
// of them, and published again they are written. Breaks if they are refused for good, as if each were too large.
func TestTooLargeAfterADoubt(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	smaller(t, fake, 4)
	ms := numbered(0, 10)
	failed := failures(t, p.Publish(topic, ms...))
	if len(failed) != len(ms) {
		t.Errorf("%d failed, want %d", len(failed), len(ms))
	}
	for _, f := range failed {
		if !errors.Is(f.Err, ErrUnknown) || channel.IsPermanent(f.Err) {
			t.Errorf("message %s, which may have been written: %v", f.Message.UUID, f.Err)
		}
	}
	if err := p.Publish(topic, ms...); err != nil {
		t.Error(err)
	}
	if got := written(t, fake, topic); got != "0 1 2 3 4 5 6 7 8 9" {
		t.Errorf("on the topic are %s", got)
	}
}

// A broker that has had a batch for so long that it knows only that has written it: its senders are told so, and numbers go
// on behind it.
func TestWrittenLongAgo(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	var numbers []int32
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		numbers = append(numbers, x.records.FirstSequence)
		return kerr.DuplicateSequenceNumber, nil
	})
	for i := range 2 {
		if err := p.Publish(topic, numbered(3*i, 3)...); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(numbers, []int32{0, 3}) {
		t.Errorf("batches of 3 have the numbers %v, want 0 and 3", numbers)
	}
}

// writesAndMoves has the broker write the first batch, and then say that it is not the leader: what one does that ceases
// to be it while the batch waits for other replicas. wrote is closed in between; the answer waits for answer.
func writesAndMoves(t *testing.T, fake *kfake.Cluster) (wrote, answer chan struct{}) {
	t.Helper()
	direct, err := kgo.NewClient(kgo.SeedBrokers(kafkatest.Addr(fake)), kgo.MaxVersions(kversion.V2_8_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(direct.Close)
	wrote, answer = make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	fake.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if n.Add(1) > 1 {
			return nil, nil, false //nolint:nilnil // then it is the broker that answers
		}
		req := *kreq.(*kmsg.ProduceRequest)
		fake.SleepControl(func() {
			defer close(wrote)
			resp, err := direct.Broker(0).Request(context.Background(), &req)
			if err != nil || resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode != 0 {
				t.Errorf("writing a batch: %v, %v", resp, err)
			}
		})
		fake.SleepControl(func() { <-answer })
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		sp := kmsg.NewProduceResponseTopicPartition()
		sp.ErrorCode = kerr.NotLeaderForPartition.Code
		resp.Topics = []kmsg.ProduceResponseTopic{{Topic: req.Topics[0].Topic, Partitions: []kmsg.ProduceResponseTopicPartition{sp}}}
		return resp, nil, true
	})
	return wrote, answer
}

// waits returns when n messages wait for the topic's first partition.
func waits(p *Publisher, topic string, n int) {
	for waiting := -1; waiting != n; {
		counted := make(chan int)
		p.writer.do(func() { counted <- len(p.writer.topics[topic].partitions[0].waiting) })
		waiting = <-counted
	}
}

// A leader that moves has written a batch, and so has the next one it. Messages that wait behind it are another batch.
// Breaks if "not leader" is taken for the proof that it was not written: then they go out together, twice.
func TestMovedAfterWriting(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	wrote, answer := writesAndMoves(t, fake)
	sent := make(chan error, 2)
	go func() { sent <- p.Publish(topic, numbered(0, 3)...) }()
	<-wrote
	go func() { sent <- p.Publish(topic, numbered(3, 2)...) }()
	waits(p, topic, 2)
	close(answer)
	for range 2 {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if got := written(t, fake, topic); got != "0 1 2 3 4" {
		t.Errorf("on the topic are %s", got)
	}
}

// The same, and the sender of the batch gives up meanwhile. Breaks if the next batch takes its numbers, for then the broker
// takes it for the first, and it is lost though its sender is told that it was written.
func TestMovedAfterWritingAndGivenUp(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	wrote, answer := writesAndMoves(t, fake)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := numbered(0, 1), numbered(1, 1)
	first[0].SetContext(ctx)
	given, sent := make(chan error, 1), make(chan error, 1)
	go func() { given <- p.Publish(topic, first...) }()
	<-wrote
	go func() { sent <- p.Publish(topic, second...) }()
	waits(p, topic, 1)
	cancel()
	if err := <-given; !errors.Is(err, ErrUnknown) {
		t.Errorf("the message that was given up: %v", err)
	}
	close(answer)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if got := written(t, fake, topic); got != "0 1" {
		t.Errorf("on the topic are %s", got)
	}
}

// A batch of which nobody ever hears anything does not hold up its partition when its sender has given up. Breaks if it is
// tried for ever.
func TestAbandonedBatch(t *testing.T) {
	fake, p, topic := writing(t, 1, func(c *PublisherConfig) { c.SendTimeout = 500 * time.Millisecond })
	intercept(t, fake, func(x produced) (*kerr.Error, []int32) {
		if strings.Contains(string(x.records.Records), "cursed") {
			return kerr.UnknownServerError, nil
		}
		return nil, nil
	})
	ms := numbered(0, 1)
	ms[0].Payload = []byte("cursed")
	if failed := failures(t, p.Publish(topic, ms...)); len(failed) != 1 || !errors.Is(failed[0].Err, ErrUnknown) {
		t.Errorf("failed are %v", failed)
	}
	for n := 1; p.Publish(topic, numbered(1, 1)...) != nil; n++ {
		if n == 20 {
			t.Fatal("nothing is written any more")
		}
	}
}

// Brokers that are asked for an identity do not answer. Breaks if the client, which gives up each of them, has none left to
// ask, and nobody has it look for them again.
func TestNobodyGivesAnIdentity(t *testing.T) {
	const initProducerIDKey = 22
	cut := newScissors(initProducerIDKey, math.MaxInt32)
	cut.lose.Store(4)
	_, p, topic := writing(t, 1, func(c *PublisherConfig) { c.Cluster.Dial = cut.dial })
	if err := p.Publish(topic, numbered(0, 1)...); err != nil {
		t.Error(err)
	}
}

// The answer to the first question about a topic is lost. It is asked again. Breaks if messages fail that would have had
// time enough.
func TestTopicIsAskedForAgain(t *testing.T) {
	const metadataKey = 3
	cut := newScissors(metadataKey, math.MaxInt32)
	_, p, topic := writing(t, 1, func(c *PublisherConfig) { c.Cluster.Dial = cut.dial })
	other := kafkatest.Topic(t, p.conf.Cluster.Brokers[0], 1)
	if err := p.Publish(topic, numbered(0, 1)...); err != nil { // and so it is connected
		t.Fatal(err)
	}
	cut.lose.Store(1)
	if err := p.Publish(other, numbered(0, 1)...); err != nil {
		t.Error(err)
	}
	if n := cut.lost.Load(); n != 1 {
		t.Errorf("%d answers were lost, want 1", n)
	}
}

// A message that nobody takes says why, and that it was not sent, since it was refused. Breaks if only the time is told.
func TestWhyItWaited(t *testing.T) {
	fake, p, topic := writing(t, 1, func(c *PublisherConfig) { c.SendTimeout = 200 * time.Millisecond })
	intercept(t, fake, func(produced) (*kerr.Error, []int32) { return kerr.NotEnoughReplicas, nil })
	failed := failures(t, p.Publish(topic, numbered(0, 1)...))
	if len(failed) != 1 {
		t.Fatalf("%d failed", len(failed))
	}
	err := failed[0].Err
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "replicas") {
		t.Errorf("it says %v", err)
	}
}

// A topic is made anew with fewer partitions. Messages whose keys were on those that are gone go to the others; what was
// on its way to them, a batch for each, is given up. Breaks if they fail until the program is started again, or if what
// waited behind that batch does.
func TestTopicIsMadeAnewAndSmaller(t *testing.T) {
	const (
		keys          = 20
		before, after = 8, 2
	)
	fake, p, topic := writing(t, before, func(c *PublisherConfig) { c.SendTimeout = 3 * time.Second })
	all := func() []*message.Message {
		ms := numbered(0, 2*keys)
		for i, m := range ms {
			m.Metadata[channel.HeaderKey] = fmt.Sprint(i % keys)
			m.Payload = make([]byte, 600<<10) // a batch has one
		}
		return ms
	}
	if err := p.Publish(topic, all()...); err != nil {
		t.Fatal(err)
	}
	admin, err := sarama.NewClusterAdmin([]string{kafkatest.Addr(fake)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := errors.Join(admin.DeleteTopic(topic), admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: after, ReplicationFactor: 1}, false)); err != nil {
		t.Fatal(err)
	}
	rest := all()
	for range 5 {
		if err = p.Publish(topic, rest...); err == nil {
			break
		}
		var failed *PublishError
		if !errors.As(err, &failed) {
			t.Fatal(err)
		}
		if n := len(failed.Failed); n > before-after {
			t.Errorf("%d of %d failed, want %d at most, one for each partition that is gone: %v", n, len(rest), before-after, err)
		}
		rest = failed.Rest()
	}
	if err != nil {
		t.Fatalf("they fail for ever: %v", err)
	}
	end := int64(0)
	for partition := range int32(after) {
		n, err := p.writer.client.GetOffset(topic, partition, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		end += n
	}
	if end < 2*keys {
		t.Errorf("%d messages are there, want %d", end, 2*keys)
	}
}

// A broker that was asked for a topic's partitions has not heard of the newest, and then has. Breaks if messages are written
// there under numbers that were: the broker takes them for what it has already, and says that they are written.
func TestPartitionComesBack(t *testing.T) {
	fake, p, topic := writing(t, 3, nil)
	key := "" // of the last partition
	for i := 0; key == ""; i++ {
		m := numbered(i, 1)
		m[0].Metadata[channel.HeaderKey] = fmt.Sprint(i)
		if err := p.Publish(topic, m...); err != nil {
			t.Fatal(err)
		}
		if fake.PartitionInfo(topic, 2).HighWatermark == 1 {
			key = fmt.Sprint(i)
		}
	}
	counted := make(chan struct{})
	w := p.writer
	w.do(func() {
		d := w.topics[topic]
		w.counted(d, 2, nil)
		w.counted(d, 3, nil)
		close(counted)
	})
	<-counted
	m := numbered(1000, 1)
	m[0].Metadata[channel.HeaderKey] = key
	if err := p.Publish(topic, m...); err != nil {
		t.Fatal(err)
	}
	if n := fake.PartitionInfo(topic, 2).HighWatermark; n != 2 {
		t.Errorf("%d messages are on the partition, want 2", n)
	}
}

// A topic gets more partitions. Breaks if they are not written to, until the program is started again.
func TestTopicGrows(t *testing.T) {
	fake, p, topic := writing(t, 1, nil)
	publish := func() {
		if err := p.Publish(topic, message.NewMessage("1", nil)); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	admin, err := sarama.NewClusterAdmin([]string{kafkatest.Addr(fake)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := admin.CreatePartitions(topic, 5, nil, false); err != nil {
		t.Fatal(err)
	}
	w := p.writer
	w.do(func() { w.topics[topic].looked = time.Time{} }) // a minute later
	for n := 1; n < 5; publish() {
		counted := make(chan int)
		w.do(func() { counted <- len(w.topics[topic].partitions) })
		n = <-counted
	}
}

// A topic is missing, and is then made by somebody else. Breaks if a publisher that has not found it does not look again.
func TestTopicIsMadeLater(t *testing.T) {
	_, p, there := writing(t, 1, nil)
	c, err := sarama.NewClusterAdmin(p.conf.Cluster.Brokers, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	topic := there + "-later"
	for range 2 {
		if err := p.Publish(topic, numbered(0, 1)...); !errors.Is(err, ErrNoTopic) {
			t.Errorf("publishing to a topic that is not there: %v", err)
		}
	}
	if err := c.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	if err := p.Publish(topic, numbered(0, 1)...); err != nil {
		t.Error(err)
	}
}

// A broker that does not answer has two requests, and no more: what comes meanwhile waits to be one larger request. Breaks if the
// second waits for the answer to the first, or if each message that comes is one more.
func TestOpenRequests(t *testing.T) {
	const partitions = 8
	fake, p, topic := writing(t, partitions, nil)
	// look tells how many partitions have something to be written, and how many requests are open.
	look := func() (busy, open int) {
		looked := make(chan struct{})
		p.writer.do(func() {
			defer close(looked)
			for _, x := range p.writer.topics[topic].partitions {
				if x.batch != nil || len(x.waiting) > 0 {
					busy++
				}
			}
			for _, d := range p.writer.desks {
				open += d.open
			}
		})
		<-looked
		return busy, open
	}
	ms := make([]*message.Message, 1000) // so many that each partition has some, and a leader then
	for i := range ms {
		ms[i] = message.NewMessage("", nil)
	}
	if err := p.Publish(topic, ms...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answers are heeded", func() bool { _, open := look(); return open == 0 })
	answer := make(chan struct{})
	answers := sync.OnceFunc(func() { close(answer) })
	defer answers()
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		fake.SleepControl(func() { <-answer })
		return nil, nil, false //nolint:nilnil // then it is the broker that answers
	})
	var sent sync.WaitGroup
	for busy := 0; busy < partitions; {
		sent.Add(1)
		p.Send([]*adapters.Outgoing{{Topic: topic, ID: "1"}}, func(outs []*adapters.Outgoing) {
			defer sent.Done()
			if err := outs[0].Err; err != nil {
				t.Error(err)
			}
		})
		var open int
		if busy, open = look(); open != min(busy, 2) {
			t.Fatalf("%d partitions have something, and %d requests are open; want two at most", busy, open)
		}
	}
	answers()
	sent.Wait()
}

func TestFollowing(t *testing.T) {
	for _, x := range []struct {
		sequence int32
		n        int
		want     int32
	}{{0, 10, 10}, {math.MaxInt32 - 1, 1, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 2, 5, 2}} {
		if got := following(x.sequence, x.n); got != x.want {
			t.Errorf("%d behind %d is %d, want %d", x.n, x.sequence, got, x.want)
		}
	}
}

func failures(t *testing.T, err error) []Failure {
	t.Helper()
	if err == nil {
		return nil
	}
	failed, ok := errors.AsType[*PublishError](err)
	if !ok {
		t.Fatal(err)
	}
	return failed.Failed
}
