package hostile_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-go/leat/adapters/kafka"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/endpoint"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// F27: for a while the topic of dead letters takes none: it is not allowed, or has no leader. What is to go there
// is not acknowledged, the others go on, and three seconds after the end it is there, once.
func TestDeadLetterDown(t *testing.T) {
	for name, refusal := range map[string]*kerr.Error{"not allowed": kerr.TopicAuthorizationFailed, "no leader": kerr.LeaderNotAvailable} {
		for _, reader := range []string{"flow", "channel"} {
			t.Run(name+", "+reader, func(t *testing.T) { deadLetterDown(t, refusal, reader == "flow") })
		}
	}
}

// commitInterval is so short that what could be committed is.
const commitInterval = 5 * time.Millisecond

func deadLetterDown(t *testing.T, refusal *kerr.Error, inFlow bool) {
	t.Helper()
	const first, healthy, poison = 20, 200, 10
	fake := kafkatest.Fake(t)
	addr := kafkatest.Addr(fake)
	in, dead := kafkatest.Topic(t, addr, 1), kafkatest.Topic(t, addr, 1)
	down := fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: dead, Err: refusal, Count: -1})
	var books leattest.Ledger
	done := make(chan string, first+healthy)
	work := func(id string) error {
		if strings.HasPrefix(id, "poison") {
			return errPoison
		}
		books.Effect(id)
		done <- id
		return nil
	}
	var stop func()
	if inFlow {
		f := newFlow(t, "buried",
			flow.Step("work", channel.Topic[string](in), endpoint.Do(func(_ context.Context, s string) error { return work(s) })),
			flow.Policy{Attempts: 2, Backoff: flow.Fixed(10 * time.Millisecond), DeadLetter: channel.Topic[[]byte](dead)},
			flow.Group(in))
		h, drain := start(t, f, publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)}), subscriber(t, kafka.SubscriberConfig{Cluster: quiet(addr), CommitInterval: commitInterval}))
		stop = func() {
			drain()
			books.Accounts(h.Counts())
		}
	} else {
		stop = subscribe(t, kafka.SubscriberConfig{
			Cluster: quiet(addr), Group: in, CommitInterval: commitInterval, MaxAttempts: 2, DeadLetter: dead, Lanes: 1 << 20, // so that no two keys share one
			Backoff: kafka.Backoff{Base: 10 * time.Millisecond, Cap: 100 * time.Millisecond},
		}, in, work)
	}
	pub := publisher(t, kafka.PublisherConfig{Cluster: quiet(addr)})
	wait := func(n int, what string) {
		t.Helper()
		for range n {
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal(what)
			}
		}
	}
	publish(t, &books, pub, in, notes("first", first, 20)...)
	wait(first, "nothing comes")
	until(t, time.Minute, "what came first is committed", func() bool { return left(t, addr, in, in) == 0 })
	for i := range poison {
		m := note(fmt.Sprint("poison-", i), fmt.Sprint("poison-", i))
		books.Poison(m.UUID)
		publish(t, &books, pub, in, m)
	}
	publish(t, &books, pub, in, notes("healthy", healthy, 20)...)
	wait(healthy, "the others wait for dead letters")
	if err := down.Wait(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if n := left(t, addr, in, in); n != healthy+poison {
		t.Errorf("%d messages are committed beyond those that are not in the dead letter", healthy+poison-n)
	}
	if n := len(read(t, addr, dead)); n != 0 {
		t.Fatalf("%d dead letters are on a topic that takes none", n)
	}
	down.Remove()
	until(t, 3*time.Second, "the dead letters are there", func() bool { return fake.PartitionInfo(dead, 0).HighWatermark >= poison })
	until(t, 3*time.Second, "all is committed", func() bool { return left(t, addr, in, in) == 0 })
	stop()
	once(t, addr, dead)
	for _, l := range read(t, addr, dead) {
		books.DeadLetter(l.id())
	}
	books.Check(t, 0)
}
