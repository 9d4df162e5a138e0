//go:build unix

package faults_test

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/internal/kafkatest"
	"github.com/leat-go/leat/leattest"
)

// Exactly once: relays are killed in the middle of their transactions. On the topic they write to, every
// message is there once, in the order of its key, for whoever reads what is committed. The second kill, and then every
// third, finds a transaction that has written something. Breaks if readers of what is committed see that, if offsets
// are committed beside the transaction, or if keys overtake themselves.
func TestExactlyOnce(t *testing.T) {
	rng, seed := random(t)
	addr := kafkatest.Shared(t).Addr()
	n, kills := of(5000, 50_000), of(3, 20)
	const partitions, relays, keys, batch = 4, 2, 100, 50
	p := newPlace(t, addr, partitions, seed)
	p.Out = kafkatest.Topic(t, addr, partitions)
	p.Window = 100
	open := p.transactions(t)
	group := make([]*consumer, relays)
	names := []string{"a", "b"}
	start := func(i int) {
		j := p.job
		j.Instance = names[i]
		group[i] = j.start(t)
	}
	for i := range group {
		start(i)
	}
	published, halt := p.load(t, batch, keys)
	found := 0
	for kill := range kills {
		i, find := rng.IntN(relays), kill%3 == 1
		victim := group[i]
		goal := p.look(t).takenBy(victim) + 1 + rng.IntN(200)
		if find {
			goal += partitions * p.Window // then its first transaction is through, which has little in it
		}
		until(t, time.Minute, "the victim works", func() bool { return p.look(t).takenBy(victim) >= goal })
		if find {
			var since time.Time // it stands still
			until(t, time.Minute, "it stands still in the middle of a transaction", func() bool {
				if since.IsZero() {
					victim.signal(t, syscall.SIGSTOP)
					since = time.Now()
				}
				if open(names[i]) {
					return time.Since(since) > 250*time.Millisecond // by then a commit that was on its way has arrived
				}
				victim.signal(t, syscall.SIGCONT)
				since = time.Time{}
				return false
			})
			found++
		}
		victim.kill()
		start(i)
		if find { // what it has left is ended by its name, long before it times out
			until(t, transactionTimeout/2, "it is back", func() bool { return p.look(t).takenBy(group[i]) > 0 })
		}
	}
	until(t, 5*time.Minute, "there has been load enough", func() bool { return int(published.Load()) >= n })
	halt()
	until(t, 2*time.Minute, "everything is relayed", func() bool { return p.left(t) == 0 })
	for _, c := range group {
		c.stop(t)
	}
	aborted := 0
	for range written(t, addr, p.Out, all) {
		aborted++
	}
	for r := range written(t, addr, p.Out, committed) {
		aborted--
		var x parcel // its id is of the relay's making
		if err := json.Unmarshal(r.Payload, &x); err != nil {
			t.Fatal(err)
		}
		p.ledger.Effect(x.ID)
	}
	if aborted == 0 {
		t.Errorf("%d kills have found a transaction, and there is nothing of an aborted one", found)
	}
	p.deadLetters(t)
	p.ledger.Check(t, seed)
	t.Logf("%d messages, %d kills, %d and perhaps more in the middle of a transaction, %d messages of aborted ones. %s", published.Load(), kills, found, aborted, leattest.Replay(t, seed))
}

// transactions gives what reports whether an instance has a transaction open that has written something.
func (p *place) transactions(t *testing.T) (open func(instance string) bool) {
	t.Helper()
	c := sarama.NewConfig()
	c.Version = sarama.V3_0_0_0 // the first that can be asked
	client, err := sarama.NewClusterAdmin([]string{p.Addr}, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	admin := client.(sarama.TransactionClusterAdmin)
	partitions := make([]int32, p.partitions)
	for i := range partitions {
		partitions[i] = int32(i)
	}
	return func(instance string) bool {
		id := p.Group + "-" + instance
		states, err := admin.DescribeTransactions([]string{id})
		if err != nil {
			t.Fatal(err)
		}
		if states[id].TransactionState != "Ongoing" {
			return false
		}
		writers, err := admin.DescribeProducers(map[string][]int32{p.Out: partitions})
		if err != nil {
			t.Fatal(err)
		}
		for _, partition := range writers[p.Out] {
			for _, w := range partition.ActiveProducers {
				if w.ProducerID == states[id].ProducerID && w.CurrentTxnStartOffset >= 0 {
					return true
				}
			}
		}
		return false
	}
}

func (c *consumer) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := c.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
