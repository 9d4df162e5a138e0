package hostile_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// of gives the number for the form that tests run in: make soak has the long one.
func of[N any](short, soak N) N {
	if os.Getenv("LEAT_SOAK") != "" {
		return soak
	}
	return short
}

func random(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	for seed := range leattest.Seeds(t, 1) {
		return rand.New(rand.NewPCG(seed, 0)), seed
	}
	return nil, 0
}

// broker is the address of one: in the process, or in the long form Kafka itself.
func broker(t *testing.T) string {
	t.Helper()
	return of(
		func() string { return kafkatest.Addr(kafkatest.Fake(t)) },
		func() string { return kafkatest.Shared(t).Addr() },
	)()
}

func quiet(addr string) kafka.Cluster {
	return kafka.Cluster{Brokers: []string{addr}, Logger: slog.New(slog.DiscardHandler)}
}

func publisher(t *testing.T, c kafka.PublisherConfig) *kafka.Publisher {
	t.Helper()
	p, err := kafka.NewPublisher(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func subscriber(t *testing.T, c kafka.SubscriberConfig) *kafka.Subscriber {
	t.Helper()
	s, err := kafka.NewSubscriber(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start runs a flow until the test ends, or what it gives is called: then it is drained.
func start(t *testing.T, f *flow.Flow, pub message.Publisher, sub message.Subscriber) (h *flow.Handle, stop func()) {
	t.Helper()
	h, err := f.Start(context.WithoutCancel(t.Context()), pub, sub)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := h.Drain(ctx); err != nil {
				t.Errorf("draining: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return h, stop
}

func newFlow(t *testing.T, name string, parts ...flow.Part) *flow.Flow {
	t.Helper()
	f, err := flow.New(name, append(parts, flow.Logger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// note is a message whose body is its id, as the codec has it.
func note(id, key string) *message.Message {
	m := message.NewMessage(id, fmt.Appendf(nil, "%q", id))
	if key != "" {
		m.Metadata[channel.HeaderKey] = key
	}
	return m
}

// notes gives n of them, in the order of their keys.
func notes(prefix string, n, keys int) []*message.Message {
	ms := make([]*message.Message, n)
	for i := range ms {
		ms[i] = note(fmt.Sprintf("%s-%d", prefix, i), fmt.Sprint("key-", i%keys))
	}
	return ms
}

// publish publishes in one operation, and what failed again. It keeps the books.
func publish(t *testing.T, books *leattest.Ledger, pub message.Publisher, topic string, ms ...*message.Message) {
	t.Helper()
	for _, m := range ms {
		books.Tried(m.UUID, m.Metadata[channel.HeaderKey])
	}
	if err := pub.Publish(topic, ms...); err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		books.Published(m.UUID, m.Metadata[channel.HeaderKey])
	}
}

// until waits until a condition holds, and fails the test when it does not within a limit.
func until(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
}

// every calls do at an interval until what it gives is called.
func every(interval time.Duration, do func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-end:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(end)
		<-ended
	})
}

// A written record is one as it lies on a topic.
type written struct {
	*sarama.ConsumerMessage
}

func (w written) get(name string) string {
	for _, h := range w.Headers {
		if string(h.Key) == name {
			return string(h.Value)
		}
	}
	return ""
}

func (w written) id() string { return w.get(kafka.HeaderID) }

func client(t *testing.T, addr string) sarama.Client {
	t.Helper()
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	cl, err := sarama.NewClient([]string{addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

// read gives what is on a topic, partition by partition.
func read(t *testing.T, addr, topic string) (all []written) {
	t.Helper()
	cl := client(t, addr)
	defer func() { _ = cl.Close() }()
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	partitions, err := cl.Partitions(topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range partitions {
		from, err := cl.GetOffset(topic, p, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		end, err := cl.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		if from == end {
			continue
		}
		pc, err := consumer.ConsumePartition(topic, p, from)
		if err != nil {
			t.Fatal(err)
		}
		for m := range pc.Messages() {
			all = append(all, written{m})
			if m.Offset+1 >= end {
				break
			}
		}
		_ = pc.Close()
	}
	return all
}

// once fails the test unless each id is on the topic once.
func once(t *testing.T, addr, topic string) (n int) {
	t.Helper()
	seen := map[string]string{}
	for _, r := range read(t, addr, topic) {
		at := fmt.Sprintf("%d/%d", r.Partition, r.Offset)
		if before, twice := seen[r.id()]; twice {
			t.Errorf("%s is on topic %s twice, at %s and %s", r.id(), topic, before, at)
		}
		seen[r.id()] = at
	}
	return len(seen)
}

// left is how many messages of a topic a group has not committed.
func left(t *testing.T, addr, group, topic string) (n int64) {
	t.Helper()
	cl := client(t, addr)
	admin, err := sarama.NewClusterAdminFromClient(cl)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	partitions, err := cl.Partitions(topic)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: partitions})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range partitions {
		end, err := cl.GetOffset(topic, p, sarama.OffsetNewest)
		if err != nil {
			t.Fatal(err)
		}
		n += end - max(resp.GetBlock(topic, p).Offset, 0)
	}
	return n
}

// leave notes in the books what a group has left on a topic.
func leave(t *testing.T, books *leattest.Ledger, addr, group, topic string) {
	t.Helper()
	if n := left(t, addr, group, topic); n != 0 {
		books.Leave(fmt.Sprintf("%d of topic %s", n, topic))
	}
}

// A diary is a log that a test reads.
type diary struct {
	mu    sync.Mutex
	lines []line
}

type line struct {
	level slog.Level
	text  string
	at    time.Time
}

func (d *diary) logger() *slog.Logger { return slog.New(page{d}) }

func (d *diary) all() []line {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// page is a diary as a slog.Handler.
type page struct{ d *diary }

func (page) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (p page) WithAttrs([]slog.Attr) slog.Handler         { return p }
func (p page) WithGroup(string) slog.Handler              { return p }

func (p page) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.d.lines = append(p.d.lines, line{r.Level, text, time.Now()})
	return nil
}

// subscribe has what a plain subscription delivers worked on, as a router does: each in a goroutine, nacked for
// an error. It ends with the test, or when what it gives is called.
func subscribe(t *testing.T, c kafka.SubscriberConfig, topic string, work func(id string) error) (stop func()) {
	t.Helper()
	s := subscriber(t, c)
	messages, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for m := range messages {
			all.Go(func() {
				if work(strings.Trim(string(m.Payload), `"`)) != nil {
					m.Nack()
					return
				}
				m.Ack()
			})
		}
	})
	stop = sync.OnceFunc(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
	t.Cleanup(stop)
	return stop
}
