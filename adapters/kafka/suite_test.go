package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/internal/subscription"
	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// The project's own suite, against a real broker. The reconnect subtest has one of its own, which is killed.
func TestAdapter(t *testing.T) {
	leattest.Adapter(t, leattest.AdapterSpec{
		Open:     openEnv,
		Patience: time.Minute,
		Heap:     64 << 20,
		Stays:    []string{"github.com/eapache/go-resiliency/breaker.(*Breaker).timer"},
	})
}

func openEnv(t *testing.T, s leattest.AdapterSettings) leattest.AdapterEnv {
	t.Helper()
	server := kafkatest.Shared
	if s.Restarts {
		server = kafkatest.Own
	}
	e := &env{t: t, server: server(t), settings: s, lines: map[message.Subscriber]*kafkatest.Lines{}}
	return leattest.AdapterEnv{
		Publisher:   e.publisher,
		Subscriber:  e.subscriber,
		Topic:       func(partitions int) string { return kafkatest.Topic(t, e.server.Addr(), partitions) },
		Crash:       func(s message.Subscriber) { e.lines[s].Cut() },
		Restart:     e.restart,
		Foreign:     e.foreign,
		Outage:      e.outage,
		Again:       func(m *message.Message) int { return subscription.Again(m.Context()) },
		DeadLetters: true,
	}
}

// An env is a broker for one subtest.
type env struct {
	t        *testing.T
	server   *kafkatest.Server
	settings leattest.AdapterSettings
	lines    map[message.Subscriber]*kafkatest.Lines
}

func (e *env) cluster(l *kafkatest.Lines) kafka.Cluster {
	c := cluster(e.server.Addr())
	c.Logger = slog.New(slog.DiscardHandler)
	c.Dial, c.DialTimeout, c.ReadTimeout = l.Dial, 2*time.Second, 5*time.Second
	return c
}

func (e *env) create() *kafka.Create {
	if e.settings.Create {
		return &kafka.Create{Partitions: 2, Replication: 1}
	}
	return nil
}

func (e *env) publisher() message.Publisher {
	p, err := kafka.NewPublisher(kafka.PublisherConfig{
		Cluster: e.cluster(&kafkatest.Lines{}), SendTimeout: 3 * time.Second, Create: e.create(),
		TransactionalID: fmt.Sprintf("%s-%x", strings.ReplaceAll(e.t.Name(), "/", "-"), rand.Uint64()),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	return p
}

func (e *env) subscriber(r leattest.AdapterReader) message.Subscriber {
	l := &kafkatest.Lines{}
	c := kafka.SubscriberConfig{
		Cluster: e.cluster(l), Group: r.Group, Order: e.settings.Order, Window: e.settings.Window, DrainTimeout: e.settings.Drain,
		MaxAttempts: r.Attempts, DeadLetter: r.DeadLetter, Create: e.create(),
		Backoff:        kafka.Backoff{Base: time.Millisecond, Cap: 20 * time.Millisecond},
		SessionTimeout: 10 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
		RebalanceTimeout: 20 * time.Second,
	}
	if e.settings.Crashes {
		c.SessionTimeout = 2 * time.Second
	}
	s, err := kafka.NewSubscriber(c)
	if err != nil {
		e.t.Fatal(err)
	}
	e.lines[s] = l
	return s
}

// restart kills the broker and has it started again.
func (e *env) restart() {
	begin := time.Now()
	defer func() { e.t.Logf("the broker was away for %v", time.Since(begin)) }()
	if err := e.server.Kill(); err != nil {
		e.t.Errorf("killing the broker: %v", err)
	}
	if err := e.server.Restart(context.WithoutCancel(e.t.Context())); err != nil {
		e.t.Errorf("restarting the broker: %v", err)
	}
}

// foreign puts a record on the topic that says twice what its id is.
func (e *env) foreign(topic string) []byte {
	raw := []byte("no message \x00\xff")
	c := sarama.NewConfig()
	c.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer([]string{e.server.Addr()}, c)
	if err != nil {
		e.t.Fatal(err)
	}
	defer p.Close()
	id := sarama.RecordHeader{Key: []byte(kafka.HeaderID), Value: []byte("forged")}
	if _, _, err := p.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Value: sarama.ByteEncoder(raw), Headers: []sarama.RecordHeader{id, id},
	}); err != nil {
		e.t.Fatal(err)
	}
	return raw
}

// outage has a topic refuse what has no key, as compacted ones do.
func (e *env) outage(topic string, down bool) {
	admin, err := sarama.NewClusterAdmin([]string{e.server.Addr()}, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	defer admin.Close()
	policy := "delete"
	if down {
		policy = "compact,delete"
	}
	if err := admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
		"cleanup.policy": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &policy},
	}, false); err != nil {
		e.t.Fatal(err)
	}
	if down {
		e.refused(admin, topic)
	}
}

// refused sends until the broker refuses it, and removes what it has taken.
func (e *env) refused(admin sarama.ClusterAdmin, topic string) {
	c := sarama.NewConfig()
	c.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer([]string{e.server.Addr()}, c)
	if err != nil {
		e.t.Fatal(err)
	}
	defer p.Close()
	for range 1000 {
		partition, offset, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("probe")})
		if err != nil {
			return
		}
		if err := admin.DeleteRecords(topic, map[int32]int64{partition: offset + 1}); err != nil {
			e.t.Fatal(err)
		}
	}
	e.t.Fatalf("topic %s takes what has no key though it is compacted", topic)
}
