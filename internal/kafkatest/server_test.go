package kafkatest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		orphan()
	}
	Main(m)
}

// produce writes one message and waits until the broker has it.
func produce(t *testing.T, addr, topic, value string) {
	t.Helper()
	c := config()
	c.Producer.Return.Successes = true
	p, err := sarama.NewSyncProducer([]string{addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}); err != nil {
		t.Fatal(err)
	}
}

// consume reads n messages of a topic of one partition from its start.
func consume(t *testing.T, addr, topic string, n int) (values []string) {
	t.Helper()
	c, err := sarama.NewConsumer([]string{addr}, config())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for len(values) < n {
		values = append(values, string((<-p.Messages()).Value))
	}
	return values
}

func expect(t *testing.T, addr, topic string, want ...string) {
	t.Helper()
	if got := consume(t, addr, topic, len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestSharedKeepsMessages(t *testing.T) {
	addr := Shared(t).Addr()
	topic := Topic(t, addr, 1)
	produce(t, addr, topic, "one")
	expect(t, addr, topic, "one")
	if again := Shared(t).Addr(); again != addr {
		t.Errorf("another server, at %s, want the one at %s", again, addr)
	}
}

func TestTopicsAreForgottenWithTheirTest(t *testing.T) {
	addr := Shared(t).Addr()
	var name string
	t.Run("a test", func(t *testing.T) { name = Topic(t, addr, 3) })
	admin, err := sarama.NewClusterAdmin([]string{addr}, config())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	topics, err := admin.ListTopics()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := topics[name]; ok || name == "" {
		t.Errorf("the topic %q is there after its test", name)
	}
}

func TestFakeKeepsMessages(t *testing.T) {
	addr := Addr(Fake(t))
	topic := Topic(t, addr, 1)
	produce(t, addr, topic, "one")
	expect(t, addr, topic, "one")
}

// answers reports whether the broker answers a client that does not wait long.
func answers(addr string) bool {
	c := config()
	c.Net.ReadTimeout = 200 * time.Millisecond
	client, err := sarama.NewClient([]string{addr}, c)
	if err != nil {
		return false
	}
	client.Close()
	return true
}

func TestKilledServerComesBackOnItsData(t *testing.T) {
	s := Own(t)
	addr, topic := s.Addr(), Topic(t, s.Addr(), 1)
	produce(t, addr, topic, "before")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if answers(addr) {
		t.Error("a killed broker answers")
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	produce(t, addr, topic, "after")

	if err := s.Suspend(); err != nil {
		t.Fatal(err)
	}
	if answers(addr) {
		t.Error("a suspended broker answers")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	expect(t, addr, topic, "before", "after")

	s.Stop()
	s.Stop()
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is there after Stop: %v", s.dir, err)
	}
	if err := s.Restart(context.Background()); err == nil {
		t.Error("a stopped server started again, without its data")
	}
}
