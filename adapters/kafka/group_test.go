package kafka

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/kafkatest"
)

// A crowd is what the members of a group own and have read.
type crowd struct {
	t           *testing.T
	addr, topic string
	change      func(*SubscriberConfig) // of own; nil: none

	mu    sync.Mutex
	owned map[string][]int32 // by member, in the order of their claims
	read  map[string]int
}

func newCrowd(t *testing.T, addr string, partitions int) *crowd {
	t.Helper()
	return &crowd{t: t, addr: addr, topic: kafkatest.Topic(t, addr, partitions), owned: map[string][]int32{}, read: map[string]int{}}
}

// join is a member until what it gives is called.
func (c *crowd) join(name string, conf SubscriberConfig) (leave func()) {
	c.t.Helper()
	conf.Cluster, conf.Group, conf.HeartbeatInterval = Cluster{Brokers: []string{c.addr}}, c.topic, 100*time.Millisecond
	s, err := NewSubscriber(conf)
	if err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- s.Claim(c.t.Context(), []string{c.topic}, func(x adapters.Claim) {
			c.mu.Lock()
			c.owned[name] = append(c.owned[name], x.(*claim).Partition())
			c.mu.Unlock()
			for {
				run, err := x.Next(make([]*adapters.Record, 0, 16))
				c.mu.Lock()
				for i := range run {
					c.read[run[i].ID]++
				}
				c.mu.Unlock()
				x.Finish(run)
				if err != nil {
					return
				}
			}
		})
	}()
	var once sync.Once
	leave = func() {
		once.Do(func() {
			if err := s.Close(); err != nil {
				c.t.Error(err)
			}
			if err := <-ended; err != nil && c.t.Context().Err() == nil {
				c.t.Errorf("%s: %v", name, err)
			}
		})
	}
	c.t.Cleanup(leave)
	return leave
}

func (c *crowd) publish(ids ...string) {
	c.t.Helper()
	p, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: []string{c.addr}}})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	for _, id := range ids {
		if err := p.Publish(c.topic, keyed(id)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// keyed is a message whose key is its id.
func keyed(id string) *message.Message {
	m := message.NewMessage(id, []byte(id))
	m.Metadata[channel.HeaderKey] = id
	return m
}

func (c *crowd) until(what string, holds func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		c.mu.Lock()
		ok := holds()
		c.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within 30s; owned: %v, read: %v", what, c.owned, c.read)
		}
	}
}

func (c *crowd) claims(name string) int { return len(c.owned[name]) }

// once waits until every id has been read, and fails if one was more than once.
func (c *crowd) once(ids ...string) {
	c.t.Helper()
	c.until("everything is read", func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return c.read[id] == 0 })
	})
	for _, id := range ids {
		c.mu.Lock()
		if n := c.read[id]; n != 1 {
			c.t.Errorf("%s was read %d times", id, n)
		}
		c.mu.Unlock()
	}
}

func ids(of string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(of, "-", i))
	}
	return ids
}

// An instance that restarts within SessionTimeout has its partitions again, and nobody else is disturbed. Breaks if a
// named instance leaves its group when it stops.
func TestStaticMembership(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 4)
	stop := c.join("a", SubscriberConfig{Instance: "a"})
	c.until("the first has all", func() bool { return c.claims("a") == 4 })
	c.join("b", SubscriberConfig{Instance: "b"})
	c.until("the second has half", func() bool { return c.claims("b") == 2 })
	first := ids("first", 20)
	c.publish(first...)
	c.once(first...)
	kept := slices.Clone(c.owned["b"])
	stop()
	second := ids("second", 20)
	c.publish(second...)
	c.join("a again", SubscriberConfig{Instance: "a"})
	c.once(second...)
	c.mu.Lock()
	defer c.mu.Unlock()
	again := slices.Clone(c.owned["a again"])
	slices.Sort(again)
	if !slices.Equal(c.owned["b"], kept) || len(again) != 2 || slices.ContainsFunc(again, func(p int32) bool { return slices.Contains(kept, p) }) {
		t.Errorf("the one that went on has %v, before %v; the one that came again has %v", c.owned["b"], kept, again)
	}
}

// A stubborn is a named member that does not let go: like one that is killed when it has been told to.
type stubborn struct {
	told chan struct{} // closed when it is to let go of a partition
	free chan struct{} // closed: it may
	once sync.Once
	owns sync.WaitGroup
}

func (s *stubborn) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (s *stubborn) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (s *stubborn) ConsumeClaim(_ sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	s.owns.Done()
	for range c.Messages() {
		continue
	}
	s.once.Do(func() { close(s.told) })
	<-s.free
	return nil
}

// A named member is killed when it has been told to let go of partitions and before the group has heard that it has:
// whoever comes back under its name has them shared out. Breaks if nobody looks whether every partition is somebody's.
func TestKilledWhileLettingGo(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 4)
	conf := sarama.NewConfig()
	conf.Version = sarama.V2_8_0_0
	conf.Consumer.Group.InstanceId = "killed"
	conf.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	conf.Consumer.Group.Rebalance.GroupStrategies = CooperativeSticky.strategies()
	group, err := sarama.NewConsumerGroup([]string{c.addr}, c.topic, conf)
	if err != nil {
		t.Fatal(err)
	}
	killed := &stubborn{told: make(chan struct{}), free: make(chan struct{})}
	killed.owns.Add(4)
	var over sync.WaitGroup
	over.Go(func() { _ = group.Consume(t.Context(), []string{c.topic}, killed) })
	t.Cleanup(func() {
		close(killed.free)
		_ = group.Close()
		over.Wait()
	})
	killed.owns.Wait()
	c.join("other", SubscriberConfig{Instance: "other"})
	<-killed.told
	c.join("killed again", SubscriberConfig{Instance: "killed"})
	all := ids("a", 40)
	c.publish(all...)
	c.once(all...)
}

// A group goes from Range to CooperativeSticky in two steps, member by member, and reads all the while. Breaks if
// members of two steps have no strategy in common.
func TestFromRange(t *testing.T) {
	c := newCrowd(t, kafkatest.Shared(t).Addr(), 4)
	steps := []Strategy{Range, FromRange, CooperativeSticky}
	leave := make([]func(), 2)
	for i := range leave {
		leave[i] = c.join(fmt.Sprint(steps[0], " ", i), SubscriberConfig{Strategy: steps[0]})
	}
	for step, s := range steps {
		for i := range leave {
			if step > 0 {
				leave[i]()
				leave[i] = c.join(fmt.Sprint(s, " ", i), SubscriberConfig{Strategy: s})
			}
			some := ids(fmt.Sprint("step-", step, "-", i), 20)
			c.publish(some...)
			c.once(some...)
		}
	}
}
