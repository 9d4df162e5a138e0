package faults_test

import (
	"encoding/json"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
)

// An item is what travels. ID is its own, whatever ids the messages have that carry it.
type item struct {
	ID    string `json:"id"`
	Group string `json:"group,omitempty"`
	Fault string `json:"fault,omitempty"` // what goes wrong with it
	Turns int    `json:"turns,omitempty"`
}

// A pack is what an aggregator makes of items.
type pack struct {
	Group   string   `json:"group"`
	Members []string `json:"members"`
}

const dead channel.Topic[[]byte] = "dead"

// A world is one run: a broker, the processes on it, the faults of one seed, and the ledger. Its
// methods are for the goroutine of the run unless they say otherwise.
type world struct {
	t      *testing.T
	seed   uint64
	rnd    *rand.Rand
	dice   *dice
	broker *memory.Broker
	ledger *ledger
	driver driver
	mu     sync.Mutex
	procs  []*process // guarded by mu

	// names tells whose dead letter a message is.
	names func(m *message.Message) []string
	dead  func(m *message.Message) // sees each dead letter; may be nil
	dying sync.WaitGroup

	panics channel.Fields // of F21
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		t: t, seed: seed, rnd: rnd, dice: &dice{seed: seed, thrown: map[string]int{}}, ledger: newLedger(),
		broker: &memory.Broker{Order: adapters.Order(rnd.IntN(3)), DrainTimeout: time.Second},
		driver: drivers[rnd.IntN(len(drivers))],
	}
	w.ledger.ordered = w.broker.Order != adapters.Unordered
	w.names = func(m *message.Message) []string {
		var x item
		if err := json.Unmarshal(m.Payload, &x); err != nil {
			return []string{string(m.Payload)}
		}
		return []string{x.ID}
	}
	w.bury()
	return w
}

// bury reads the dead letters.
func (w *world) bury() {
	letters, err := w.broker.Subscriber("ledger").Subscribe(w.t.Context(), string(dead))
	if err != nil {
		w.t.Fatal(err)
	}
	w.dying.Go(func() {
		for m := range letters {
			if w.dead != nil {
				w.dead(m)
			}
			for _, id := range w.names(m) {
				w.ledger.letter(id)
			}
			m.Ack()
		}
	})
}

// put publishes a message from outside, until Publish returns nil: so does a sender that is told of an
// error, and so there are duplicates.
func (w *world) put(topic, id, key string, payload []byte) {
	w.t.Helper()
	w.put1(topic, id, key, payload)
	for w.dice.roll(50, "put", id) == 0 {
		w.put1(topic, id, key, payload)
	}
}

// put1 publishes a message from outside, once.
func (w *world) put1(topic, id, key string, payload []byte) {
	w.t.Helper()
	m := message.NewMessage(id, payload)
	if key != "" {
		m.Metadata.Set(channel.HeaderKey, key)
	}
	if err := w.broker.Publisher().Publish(topic, m); err != nil {
		w.t.Fatalf("publishing %s: %v", id, err)
	}
}

// send publishes an item under its own id.
func (w *world) send(topic, key string, x item) {
	w.t.Helper()
	w.put(topic, x.ID, key, encode(x))
	w.ledger.published(x.ID, key)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// key is one of n keys, or for one in four items none.
func (w *world) key(n int) string {
	if i := w.rnd.IntN(n + n/3); i < n {
		return "k" + strconv.Itoa(i)
	}
	return ""
}

// pass lets time pass, until then everything rests.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// end stops the processes and closes the books.
func (w *world) end() report {
	topics := map[string]string{} // and their group
	for _, p := range w.procs {
		p.stop()
		for _, u := range p.flow.Topics() {
			if len(u.Reads) > 0 {
				topics[u.Topic] = p.group
			}
		}
		if err := p.handle.Err(); err != nil && !p.gone() {
			w.t.Errorf("process %d ended by itself: %v", p.number, err)
		}
		for step, c := range p.flow.Counts() {
			if !c.Balanced() || c.InFlight != 0 {
				w.ledger.wrong(unaccounted, "process %d, step %s: %v", p.number, step, c)
			}
		}
	}
	for topic, group := range topics {
		w.leftOn(topic, group)
	}
	if err := w.broker.Close(); err != nil {
		w.t.Errorf("closing the broker: %v", err)
	}
	w.dying.Wait()
	return w.ledger.close()
}

// leftOn counts what a group has not read of a topic.
func (w *world) leftOn(topic, group string) {
	sub := w.broker.Subscriber(group)
	ms, err := sub.Subscribe(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	quiet := time.NewTimer(time.Second) // longer than any pause of the broker
	for {
		select {
		case m := <-ms:
			w.ledger.wrong(left, "%s on %s", m.Payload, topic)
			m.Ack()
			continue
		case <-quiet.C:
		}
		break
	}
	if err := sub.Close(); err != nil {
		w.t.Errorf("closing the subscriber of %s: %v", topic, err)
	}
}

// dice are choices that do not depend on how goroutines are scheduled: a throw depends on the seed, on
// what it is for, and on how often it was thrown for that. They are safe for concurrent use.
type dice struct {
	seed   uint64
	mu     sync.Mutex
	thrown map[string]int
}

// throws counts how often it was called for that, this time included.
func (d *dice) throws(what, id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.thrown[what+"\x00"+id]++
	return d.thrown[what+"\x00"+id]
}

// roll gives a number from 0 to n-1.
func (d *dice) roll(n int, what, id string) int {
	name, count := what+"\x00"+id, d.throws(what, id)
	h := fnv.New64a()
	_, _ = h.Write(strconv.AppendUint([]byte(name), d.seed, 10))
	_, _ = h.Write(strconv.AppendInt(nil, int64(count), 16))
	x := h.Sum64()
	x = (x ^ x>>31) * 0x9e3779b97f4a7c15
	x = (x ^ x>>29) * 0xbf58476d1ce4e5b9
	return int((x ^ x>>32) % uint64(n))
}

var quiet = slog.New(slog.DiscardHandler)
