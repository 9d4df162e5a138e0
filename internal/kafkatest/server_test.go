package kafkatest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/IBM/sarama" //nolint:depguard // servers for the tests of adapters and of what runs on them
)

func TestMain(m *testing.M) {
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
		select {
		case m := <-p.Messages():
			values = append(values, string(m.Value))
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
	return values
}

func TestSharedKeepsMessages(t *testing.T) {
	addr := Shared(t).Addr()
	topic := Topic(t, addr, 1)
	produce(t, addr, topic, "one")
	if got := fmt.Sprint(consume(t, addr, topic, 1)); got != "[one]" {
		t.Errorf("read %s, want [one]", got)
	}
	if again := Shared(t).Addr(); again != addr {
		t.Errorf("another server, at %s, want the one at %s", again, addr)
	}
}

func TestKilledServerComesBackOnItsData(t *testing.T) {
	s := Own(t)
	addr, topic := s.Addr(), Topic(t, s.Addr(), 1)
	produce(t, addr, topic, "before")
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if c, err := sarama.NewClient([]string{addr}, config()); err == nil {
			c.Close()
			t.Fatal("a killed broker answers")
		}
		if err := s.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	produce(t, s.Addr(), topic, "after")
	if got := fmt.Sprint(consume(t, addr, topic, 2)); got != "[before after]" {
		t.Errorf("read %s, want [before after]", got)
	}
	s.Stop()
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is there after Stop: %v", s.dir, err)
	}
}
