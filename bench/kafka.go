package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-go/leat/internal/kafkatest"
)

// A cluster is the Kafka that the rows about Kafka share. It is started, or looked for, when the first row
// needs it.
type cluster struct {
	start func() (address string, stop func(), err error)

	once    sync.Once
	err     error
	address string
	stop    func()
	client  sarama.Client // for topics
	admin   sarama.ClusterAdmin
	prefix  string
	made    atomic.Int64

	filling sync.Mutex
	filled  map[[2]int]string // topics by messages and partitions
}

const kafkaVariable = "LEAT_KAFKA"

// kafkaHere is the cluster that LEAT_KAFKA names, else one that is started. Its broker may optimise, as it
// would where it runs for long.
func kafkaHere(ctx context.Context) *cluster {
	return &cluster{start: func() (string, func(), error) {
		if address := os.Getenv(kafkaVariable); address != "" {
			return address, func() {}, nil
		}
		s, err := kafkatest.Start(ctx, kafkatest.Options{JVM: []string{"-XX:TieredStopAtLevel=4", "-Xmx2g"}})
		if err != nil {
			return "", nil, fmt.Errorf("needs Kafka (set %s to a broker's host:port, or): %w", kafkaVariable, err)
		}
		return s.Addr(), s.Stop, nil
	}}
}

// need is the rows' Needs: it starts the cluster.
func (k *cluster) need() error {
	k.once.Do(func() { k.err = k.open() })
	return k.err
}

func (k *cluster) open() (err error) {
	if k.address, k.stop, err = k.start(); err != nil {
		return err
	}
	k.prefix = "bench-" + strconv.FormatInt(time.Now().UnixNano(), 36) + "-"
	k.filled = map[[2]int]string{}
	if k.client, err = sarama.NewClient([]string{k.address}, rawConfig()); err != nil {
		return fmt.Errorf("reaching Kafka at %s: %w", k.address, err)
	}
	if k.admin, err = sarama.NewClusterAdminFromClient(k.client); err != nil {
		return fmt.Errorf("reaching Kafka at %s: %w", k.address, err)
	}
	return nil
}

// close removes what is left, and stops what was started.
func (k *cluster) close() error {
	var errs []error
	if k.admin != nil {
		for _, topic := range k.filled {
			errs = append(errs, k.remove(topic))
		}
		errs = append(errs, k.admin.Close())
	} else if k.client != nil {
		errs = append(errs, k.client.Close())
	}
	if k.stop != nil {
		k.stop()
	}
	return errors.Join(errs...)
}

// name gives a name that nothing else in the cluster has.
func (k *cluster) name(of string) string {
	return k.prefix + of + "-" + strconv.FormatInt(k.made.Add(1), 10)
}

// topic makes an empty topic, and returns when it can be written and read.
func (k *cluster) topic(ctx context.Context, of string, partitions int) (string, error) {
	const patience = 30 * time.Second
	name := k.name(of)
	detail := &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1} //nolint:gosec // A few.
	if err := k.admin.CreateTopic(name, detail, false); err != nil {
		return "", fmt.Errorf("making topic %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNotThere)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for { // its leaders can hear of it later than who asks about it
		err := k.client.RefreshMetadata(name)
		if err == nil {
			_, err = k.length(name)
		}
		if err == nil {
			return name, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("making topic %s: %w: %w", name, context.Cause(ctx), err)
		}
	}
}

var errNotThere = errors.New("it is not there yet")

func (k *cluster) remove(topics ...string) error {
	var errs []error
	for _, topic := range topics {
		if err := k.admin.DeleteTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("removing topic %s: %w", topic, err))
		}
	}
	return errors.Join(errs...)
}

// with gives a topic of messages 0 to n, which everybody reads and nobody changes.
func (k *cluster) with(ctx context.Context, n, partitions int) (string, error) {
	k.filling.Lock()
	defer k.filling.Unlock()
	name, ok := k.filled[[2]int{n, partitions}]
	if ok {
		return name, nil
	}
	name, err := k.topic(ctx, "in", partitions)
	if err != nil {
		return "", err
	}
	k.filled[[2]int{n, partitions}] = name
	return name, k.fill(ctx, name, n)
}

// nothing gives an empty topic, to which nobody writes unless something goes wrong.
func (k *cluster) nothing(ctx context.Context) (string, error) { return k.with(ctx, 0, 1) }

// fill publishes messages 0 to n, each under the next of the keys.
func (k *cluster) fill(ctx context.Context, topic string, n int) error {
	c, err := kgo.NewClient(kgo.SeedBrokers(k.address), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return fmt.Errorf("filling topic %s: %w", topic, err)
	}
	defer c.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	names := keyNames()
	for i := range n {
		id := fmt.Appendf(nil, "%08x-0000-4000-8000-%012x", i, i)
		r := &kgo.Record{Key: []byte(names[i%keyCount]), Value: body(i), Headers: []kgo.RecordHeader{{Key: headerID, Value: id}}}
		c.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				stop(err)
			}
		})
	}
	if err := errors.Join(c.Flush(ctx), context.Cause(ctx)); err != nil {
		return fmt.Errorf("filling topic %s: %w", topic, err)
	}
	return nil
}

// headerID is the header with a message's id.
const headerID = "_watermill_message_uuid"

// ends gives, for each partition of the topics, where it ends.
func (k *cluster) ends(topics ...string) (map[string]map[int32]int64, error) {
	all := map[string]map[int32]int64{}
	for _, topic := range topics {
		partitions, err := k.client.Partitions(topic)
		if err != nil {
			return nil, fmt.Errorf("looking at topic %s: %w", topic, err)
		}
		all[topic] = map[int32]int64{}
		for _, p := range partitions {
			if all[topic][p], err = k.client.GetOffset(topic, p, sarama.OffsetNewest); err != nil {
				return nil, fmt.Errorf("looking at topic %s: %w", topic, err)
			}
		}
	}
	return all, nil
}

// length is how many messages are on a topic to which nobody writes in transactions.
func (k *cluster) length(topic string) (n int64, err error) {
	ends, err := k.ends(topic)
	for _, end := range ends[topic] {
		n += end
	}
	return n, err
}

// holds sees that the topics hold messages 0 to n between them, each once, as a reader of committed
// messages finds them, and those of one key in order on each topic.
func (k *cluster) holds(ctx context.Context, n int, topics ...string) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errStayedAway)
	defer cancel()
	ends, err := k.ends(topics...)
	if err != nil {
		return err
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(k.address), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return fmt.Errorf("reading %s: %w", strings.Join(topics, ", "), err)
	}
	defer c.Close()
	l, last := newLedger(n), map[string]int{}
	unread := 0
	for _, partitions := range ends {
		for _, end := range partitions {
			if end > 0 {
				unread++
			}
		}
	}
	for unread > 0 || l.came() < int64(n) {
		got := c.PollFetches(ctx)
		if err := got.Err(); err != nil {
			return fmt.Errorf("%d of %d messages are on %s: %w", l.came(), n, strings.Join(topics, ", "), errors.Join(context.Cause(ctx), err))
		}
		got.EachRecord(func(r *kgo.Record) {
			if r.Offset == ends[r.Topic][r.Partition]-1 {
				unread--
			}
			if r.Attrs.IsControl() {
				return
			}
			l.mark(r.Value)
			at, i := r.Topic+string(r.Key), number(r.Value)
			if before, ok := last[at]; ok && before > i {
				l.finish(fmt.Errorf("%w: message %d is behind message %d on %s", errDisorder, i, before, r.Topic))
			}
			last[at] = i
		})
		select {
		case <-l.over:
			if err := l.wrong(); err != nil {
				return err
			}
		default:
		}
	}
	return l.check()
}

var errStayedAway = errors.New("no more came")
