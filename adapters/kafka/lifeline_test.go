package kafka

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/internal/kafkatest"
)

// A forgetful client has no leader for a while: another partition's trouble has taken the broker off its list.
type forgetful struct {
	sarama.Client
	times atomic.Int32 // that it does not find one
}

func (f *forgetful) Leader(topic string, partition int32) (*sarama.Broker, error) {
	if f.times.Add(-1) >= 0 {
		return nil, sarama.ErrLeaderNotAvailable
	}
	return f.Client.Leader(topic, partition)
}

// linedUp gives a producer on a lifeline whose client is forgetful.
func linedUp(t *testing.T, fake *kfake.Cluster) (*forgetful, sarama.AsyncProducer) {
	t.Helper()
	c := PublisherConfig{Cluster: Cluster{Brokers: []string{kafkatest.Addr(fake)}}}.withDefaults()
	conf, err := c.config()
	if err != nil {
		t.Fatal(err)
	}
	line := newLifeline(conf)
	client, err := sarama.NewClient([]string{kafkatest.Addr(fake)}, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f := &forgetful{Client: client}
	producer, err := line.producer(f)
	if err != nil {
		t.Fatal(err)
	}
	return f, producer
}

// TestNoLeaderForBatchOfUnknownFate: the connection breaks before a batch is answered, and when it is to be sent
// again the client has no leader for a moment. It is not given up: whoever sent it would send it again, and it may
// have been written.
func TestNoLeaderForBatchOfUnknownFate(t *testing.T) {
	fake := kafkatest.Fake(t, kfake.SeedTopics(1, "orders"))
	client, producer := linedUp(t, fake)
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		client.times.Store(3)
		return nil, errSnip, true
	})
	producer.Input() <- &sarama.ProducerMessage{Topic: "orders", Value: sarama.StringEncoder("1")}
	select {
	case <-producer.Successes():
	case e := <-producer.Errors():
		t.Errorf("given up: %v", e)
	}
	if n := client.times.Load(); n >= 0 {
		t.Errorf("the leader was asked for %d times too few", n+1)
	}
	if err := producer.Close(); err != nil {
		t.Error(err)
	}
}

// TestCutLineLooksForNoLeader: a producer that closes does not wait for one.
func TestCutLineLooksForNoLeader(t *testing.T) {
	line, client := &lifeline{}, &forgetful{}
	client.times.Store(leaderRetries)
	line.cut.Store(true)
	if _, err := (&finder{client, line}).Leader("orders", 0); !errors.Is(err, sarama.ErrLeaderNotAvailable) {
		t.Error(err)
	}
	if n := leaderRetries - client.times.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
