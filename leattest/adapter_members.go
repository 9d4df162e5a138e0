package leattest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// An adapterTest is one subtest of Adapter with its surroundings.
type adapterTest struct {
	*testing.T

	spec     *AdapterSpec
	env      AdapterEnv
	settings AdapterSettings

	mu    sync.Mutex
	names int
	run   uint64 // tells its topics from those of other runs
}

func newAdapterTest(t *testing.T, spec *AdapterSpec, s AdapterSettings) *adapterTest {
	t.Helper()
	if s.Window == 0 {
		s.Window = 64
	}
	if s.Drain == 0 {
		s.Drain = time.Second
	}
	return &adapterTest{T: t, spec: spec, settings: s, env: spec.Open(t, s), run: rand.Uint64()}
}

// name is a new name of a topic or group.
func (x *adapterTest) name(kind string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.names++
	return fmt.Sprintf("leat-%s-%d-%x", kind, x.names, x.run)
}

func (x *adapterTest) topic(partitions int) string {
	if x.env.Topic == nil {
		return x.name("topic")
	}
	return x.env.Topic(partitions)
}

func (x *adapterTest) publisher() message.Publisher {
	p := x.env.Publisher()
	x.Cleanup(func() {
		if err := p.Close(); err != nil {
			x.Errorf("closing a publisher: %v", err)
		}
	})
	return p
}

func (x *adapterTest) subscriber(r AdapterReader) message.Subscriber {
	s := x.env.Subscriber(r)
	x.Cleanup(func() {
		if err := s.Close(); err != nil {
			x.Errorf("closing a subscriber: %v", err)
		}
	})
	return s
}

// note makes a message whose payload is its id. Headers are given as name, value, name, value.
func note(id, key string, headers ...string) *message.Message {
	m := message.NewMessage(id, []byte(id))
	if key != "" {
		m.Metadata[channel.HeaderKey] = key
	}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Metadata[headers[i]] = headers[i+1]
	}
	return m
}

// notes makes n messages, "prefix-0" and on, of the keys given, in turn.
func notes(n int, prefix string, keys ...string) (ms []*message.Message) {
	for i := range n {
		ms = append(ms, note(fmt.Sprintf("%s-%d", prefix, i), keys[i%len(keys)]))
	}
	return ms
}

// keyNames are n keys.
func keyNames(n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("key-%d", i))
	}
	return keys
}

func noteIDs(ms []*message.Message) (ids []string) {
	for _, m := range ms {
		ids = append(ids, m.UUID)
	}
	return ids
}

func (x *adapterTest) publish(p message.Publisher, topic string, ms ...*message.Message) {
	x.Helper()
	if err := p.Publish(topic, ms...); err != nil {
		x.Fatalf("publishing %d messages to topic %s: %v", len(ms), topic, err)
	}
}

// await asks until the answer is yes.
func (x *adapterTest) await(what string, done func() bool) {
	x.Helper()
	over := time.Now().Add(x.spec.Patience)
	for pause := time.Millisecond; !done(); pause = min(2*pause, 50*time.Millisecond) {
		if time.Now().After(over) {
			x.Fatalf("after %v: not %s", x.spec.Patience, what)
		}
		pass(x.Context(), pause)
	}
}

// ended waits for a signal.
func (x *adapterTest) ended(what string, done <-chan struct{}) {
	x.Helper()
	timer := time.NewTimer(x.spec.Patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		x.Fatalf("after %v: not %s", x.spec.Patience, what)
	}
}

// within runs f and waits until it has returned.
func (x *adapterTest) within(what string, f func()) {
	x.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	x.ended(what, done)
}

// quiet is how long it is watched that something does not happen.
const quiet = 100 * time.Millisecond

// same fails unless both have the same elements, however often, in any order.
func (x *adapterTest) same(what string, got, want []string) {
	x.Helper()
	set := func(ids []string) []string {
		ids = slices.Clone(ids)
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	g, w := set(got), set(want)
	var lacks, alien []string
	for _, id := range w {
		if !slices.Contains(g, id) {
			lacks = append(lacks, id)
		}
	}
	for _, id := range g {
		if !slices.Contains(w, id) {
			alien = append(alien, id)
		}
	}
	if len(lacks)+len(alien) > 0 {
		x.Fatalf("%s: %d of %d lack: %s; %d too many: %s", what, len(lacks), len(w), few(lacks), len(alien), few(alien))
	}
}

func few(ids []string) string {
	const n = 8
	if len(ids) > n {
		return strings.Join(ids[:n], ", ") + ", …"
	}
	return strings.Join(ids, ", ")
}

// An adapterMember reads one topic.
type adapterMember struct {
	x   *adapterTest
	sub message.Subscriber
	end context.CancelFunc
	ms  <-chan *message.Message
}

type adapterValue struct{} // of the contexts that the suite subscribes with

// join subscribes as a process of its own.
func (x *adapterTest) join(topic, group string) *adapterMember {
	x.Helper()
	return x.read(topic, AdapterReader{Group: group})
}

func (x *adapterTest) read(topic string, r AdapterReader) *adapterMember {
	x.Helper()
	m := &adapterMember{x: x, sub: x.subscriber(r)}
	ctx, end := context.WithCancel(context.WithValue(context.WithoutCancel(x.Context()), adapterValue{}, topic))
	x.Cleanup(end)
	m.end = end
	var err error
	if m.ms, err = m.sub.Subscribe(ctx, topic); err != nil {
		x.Fatalf("subscribing to topic %s: %v", topic, err)
	}
	return m
}

// next waits for a message.
func (m *adapterMember) next(what string) *message.Message {
	m.x.Helper()
	timer := time.NewTimer(m.x.spec.Patience)
	defer timer.Stop()
	select {
	case msg, ok := <-m.ms:
		if !ok {
			m.x.Fatalf("waiting for %s: the subscription ended", what)
		}
		return msg
	case <-timer.C:
		m.x.Fatalf("after %v: no %s", m.x.spec.Patience, what)
	}
	return nil
}

// take waits for n messages and acknowledges none.
func (m *adapterMember) take(n int, what string) (ms []*message.Message) {
	m.x.Helper()
	for i := range n {
		ms = append(ms, m.next(fmt.Sprintf("%s (%d of %d)", what, i+1, n)))
	}
	return ms
}

// nothing watches that no message comes.
func (m *adapterMember) nothing(why string) {
	m.x.Helper()
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	select {
	case msg, ok := <-m.ms:
		if !ok {
			m.x.Fatalf("the subscription ended while %s", why)
		}
		m.x.Fatalf("%s is delivered while %s", msg.UUID, why)
	case <-timer.C:
	}
}

// endless is more deliveries than any subtest needs: in virtual time nothing else ends a hot loop.
const endless = 10_000

// through acknowledges what comes until every one of the ids has come, and gives all that came.
func (m *adapterMember) through(ids ...string) (got []string) {
	m.x.Helper()
	open := map[string]bool{}
	for _, id := range ids {
		open[id] = true
	}
	for len(open) > 0 {
		left := make([]string, 0, len(open))
		for id := range open {
			left = append(left, id)
		}
		msg := m.next("delivery of " + few(left))
		got = append(got, msg.UUID)
		if len(got) > endless {
			m.x.Fatalf("after %d deliveries, the last of %s: still not %s", len(got), got[len(got)-1], few(left))
		}
		delete(open, msg.UUID)
		msg.Ack()
	}
	return got
}

// leave closes the subscriber, and waits for that and for the end of its messages.
func (m *adapterMember) leave() {
	m.x.Helper()
	m.x.within("closed a subscriber", func() {
		if err := m.sub.Close(); err != nil {
			m.x.Errorf("closing a subscriber: %v", err)
		}
	})
	m.over()
}

// over waits until the subscription has ended.
func (m *adapterMember) over() {
	m.x.Helper()
	timer := time.NewTimer(m.x.spec.Patience)
	defer timer.Stop()
	for {
		select {
		case msg, ok := <-m.ms:
			if !ok {
				return
			}
			m.x.Errorf("%s is delivered after the subscription was told to end", msg.UUID)
			msg.Nack()
		case <-timer.C:
			m.x.Fatalf("after %v: the channel of an ended subscription is not closed", m.x.spec.Patience)
		}
	}
}
