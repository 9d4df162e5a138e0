package kafka

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// Senders of a few keys each send on, while leaders move, brokers refuse, connections break and answers are lost, all
// drawn from a seed. Every message is written once, and those of a key in order. Each fault passes, so that none fails.
func TestWriterLedger(t *testing.T) {
	for seed := range leattest.Seeds(t, 3) {
		t.Run(fmt.Sprintf("LEAT_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			newTrouble(t, seed).run()
		})
	}
}

// A trouble is three brokers that are in it, and a publisher that writes to them.
type trouble struct {
	t     *testing.T
	rnd   *rand.Rand
	seed  uint64
	fake  *kfake.Cluster
	pub   *Publisher
	topic string

	lines kafkatest.Lines
	deaf  atomic.Int32 // answers that are to be lost

	connected chan struct{} // closed with the first message that is through
	first     sync.Once
}

const troublePartitions, troubleSenders, troubleKeys, troubleMessages, troubleFaults = 6, 4, 5, 2000, 60

func newTrouble(t *testing.T, seed uint64) *trouble {
	t.Helper()
	x := &trouble{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)), connected: make(chan struct{})}
	x.fake = kafkatest.Fake(t, kfake.NumBrokers(3), kfake.SeedTopics(troublePartitions, "topic"))
	x.topic = "topic"
	pub, err := NewPublisher(PublisherConfig{Cluster: Cluster{Brokers: x.fake.ListenAddrs(), Dial: x.dial}, SendTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	x.pub = pub
	t.Cleanup(func() { _ = pub.Close() })
	return x
}

func (x *trouble) run() {
	var senders sync.WaitGroup
	for s := range troubleSenders {
		rnd := rand.New(rand.NewPCG(x.seed, uint64(1+s)))
		senders.Go(func() { x.send(s, rnd) })
	}
	sent := make(chan struct{})
	go func() {
		senders.Wait()
		close(sent)
	}()
	<-x.connected // who reaches no broker at the start is told so, and tries no longer
	for range troubleFaults {
		select {
		case <-sent:
		case <-time.After(time.Duration(x.rnd.IntN(60)) * time.Millisecond):
			x.fault()
		}
	}
	<-sent
	x.check()
}

// send sends messages of some keys, a few at once, and sometimes waits for them.
func (x *trouble) send(sender int, rnd *rand.Rand) {
	var under sync.WaitGroup
	for i := 0; i < troubleMessages; {
		outs := make([]*adapters.Outgoing, min(1+rnd.IntN(20), troubleMessages-i))
		for j := range outs {
			key := fmt.Sprintf("%d-%d", sender, rnd.IntN(troubleKeys))
			outs[j] = &adapters.Outgoing{Topic: x.topic, ID: fmt.Sprintf("%s/%04d", key, i), Key: key, Payload: []byte("body")}
			i++
		}
		under.Add(len(outs))
		x.pub.Send(outs, func(through []*adapters.Outgoing) {
			x.first.Do(func() { close(x.connected) })
			for _, o := range through {
				if o.Err != nil {
					x.t.Errorf("message %s: %v", o.ID, o.Err)
				}
				under.Done()
			}
		})
		if rnd.IntN(4) == 0 {
			under.Wait()
		}
	}
	under.Wait()
}

// fault is one more, which passes.
func (x *trouble) fault() {
	partition := int32(x.rnd.IntN(troublePartitions))
	switch x.rnd.IntN(4) {
	case 0:
		_ = x.fake.MoveTopicPartition(x.topic, partition, int32(x.rnd.IntN(3)))
	case 1:
		errs := []*kerr.Error{
			kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.KafkaStorageError,
			kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable,
		}
		x.fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: x.topic, Partitions: []int32{partition}, Err: errs[x.rnd.IntN(len(errs))], Count: 1 + x.rnd.IntN(3),
		})
	case 2:
		x.deaf.Add(1)
	default:
		x.lines.Break()
	}
}

func (x *trouble) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := x.lines.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &hearing{Conn: c, x: x}, nil
}

// A hearing connection loses an answer when it is to.
type hearing struct {
	net.Conn
	x *trouble
}

func (h *hearing) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	for deaf := h.x.deaf.Load(); n > 0 && deaf > 0; deaf = h.x.deaf.Load() {
		if h.x.deaf.CompareAndSwap(deaf, deaf-1) {
			_ = h.Close()
			return 0, errSnip
		}
	}
	return n, err
}

// check reads the topic: every message once, those of a key in order.
func (x *trouble) check() {
	c, err := kgo.NewClient(kgo.SeedBrokers(x.fake.ListenAddrs()...), kgo.ConsumeTopics(x.topic))
	if err != nil {
		x.t.Fatal(err)
	}
	defer c.Close()
	var end int64
	for p := range int32(troublePartitions) {
		end += x.fake.PartitionInfo(x.topic, p).HighWatermark
	}
	last := map[string]string{}
	for n := int64(0); n < end; {
		fs := c.PollFetches(x.t.Context())
		if err := fs.Err(); err != nil {
			x.t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			n++
			id, key := string(r.Headers[0].Value), string(r.Key)
			if strings.Compare(id, last[key]) <= 0 {
				x.t.Errorf("message %s is behind %s", id, last[key])
			}
			last[key] = id
		})
	}
	if want := int64(troubleSenders * troubleMessages); end != want {
		x.t.Errorf("%d messages are on the topic, want %d", end, want)
	}
	if x.t.Failed() {
		x.t.Log(leattest.Replay(x.t, x.seed))
	}
}
