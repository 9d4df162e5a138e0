package flow_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/leattest"
)

var errGarbled = errors.New("record orders/3/17 is no message: garbled\nbatch")

// A script is a subscriber that hands over records as a test gives them, one claim for each topic.
type script struct {
	diary

	mu    sync.Mutex
	given map[string]chan []*adapters.Record
}

func newScript() *script { return &script{given: map[string]chan []*adapters.Record{}} }

func (s *script) way(topic string) chan []*adapters.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given[topic] == nil {
		s.given[topic] = make(chan []*adapters.Record, 100)
	}
	return s.given[topic]
}

func (s *script) give(topic string, rs ...*adapters.Record) { s.way(topic) <- rs }

func (*script) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, errors.New("this one hands over claims")
}

func (*script) Close() error { return nil }

func (s *script) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	var all sync.WaitGroup
	for _, topic := range topics {
		all.Go(func() { own(&scriptedClaim{s, context.WithoutCancel(ctx), ctx, topic}) })
	}
	all.Wait()
	return nil
}

type scriptedClaim struct {
	script *script
	ctx    context.Context
	given  context.Context
	topic  string
}

func (c *scriptedClaim) Context() context.Context { return c.ctx }
func (c *scriptedClaim) Topic() string            { return c.topic }
func (c *scriptedClaim) Order() adapters.Order    { return adapters.KeyOrdered }

func (c *scriptedClaim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	select {
	case rs := <-c.script.way(c.topic):
		return append(run, rs...), nil
	case <-c.given.Done():
		return run, context.Cause(c.given)
	}
}

func (c *scriptedClaim) Finish(rs []*adapters.Record) { c.note("finished", rs) }
func (c *scriptedClaim) Return(rs []*adapters.Record) { c.note("returned", rs) }

func (c *scriptedClaim) note(what string, rs []*adapters.Record) {
	for _, r := range rs {
		c.script.add(what + " " + r.ID)
	}
}

// place is an adapter's own name for where a record is.
type place string

func (p place) String() string { return string(p) }

// garbled is a record that is no message.
func garbled(id, key string) *adapters.Record {
	return &adapters.Record{
		ID: id, Key: key, Payload: []byte("\x00raw"), Native: place("orders/3/17"), Err: errGarbled,
		Headers: channel.Fields{{Name: "tenant", Value: "blue"}, {Name: channel.HeaderExpires, Value: "yesterday"}},
	}
}

// scripted runs a flow on a script.
func scripted(t *testing.T, s *script, w *wire, parts ...flow.Part) *rig {
	t.Helper()
	f := mustNew(t, "f", parts...)
	r := &rig{wire: w, T: t, flow: f}
	w.to = nowhere{}
	r.h = must(f.Start(context.Background(), w, s))(t)
	t.Cleanup(func() {
		r.h.Stop()
		balanced(t, r.h)
	})
	return r
}

// What is no message goes to the dead letter of each step as it came, and nobody is asked about it. Breaks
// if it is decoded, shown to an interceptor or to Failed, tried again, put on one step's dead letter alone or
// taken for a copy, or if its key waits.
func TestARecordThatIsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen diary
		watch := guardian{enter: func(e *channel.Envelope) (channel.Result, channel.Exit, error) {
			seen.add("enter " + e.ID())
			return channel.Result{}, nil, nil
		}}
		step := func(name string, parts ...flow.Part) flow.Part {
			return flow.Step(name, arrivals, block[parcel]{
				func(m channel.Message[parcel]) (channel.Result, error) {
					seen.add(name + " " + m.ID())
					return channel.Done(), nil
				},
				channel.Shape{Failed: func(e *channel.Envelope, _ error) (channel.Result, error) {
					seen.add("failed " + e.ID())
					return channel.Drop("asked"), nil
				}},
			}, parts...)
		}
		s, w := newScript(), &wire{}
		began := time.Now().UTC().Format(time.RFC3339Nano)
		r := scripted(t, s, w, quick(), flow.Around(watch, channel.InvalidChannel{To: "invalid"}),
			step("a"), step("b", flow.Policy{DeadLetter: "dead.b"}))
		s.give("arrivals", garbled("bad", "k"), &adapters.Record{ID: "good", Key: "k", Payload: []byte("{}")})
		synctest.Wait()
		for _, step := range []string{"a", "b"} {
			r.is(step, "received=2 done=1 invalid=1")
			on := map[string]string{"a": "dead", "b": "dead.b"}[step]
			letters := w.on(on)
			if len(letters) != 1 {
				t.Fatalf("%d letters on %s", len(letters), on)
			}
			want := sent{on, "bad", "k", "\x00raw", map[string]string{
				"tenant": "blue", channel.HeaderExpires: "yesterday",
				flow.DeadFlow: "f", flow.DeadStep: step, flow.DeadScope: "f/" + step, flow.DeadTopic: "arrivals",
				flow.DeadError: "record orders/3/17 is no message: garbled batch", flow.DeadClass: "permanent", flow.DeadAttempts: "1",
				flow.DeadFirst: began, flow.DeadLast: began, flow.DeadOrigin: "orders/3/17",
				flow.DeadSize: "4", flow.DeadSHA256: fmt.Sprintf("%x", sha256.Sum256([]byte("\x00raw"))),
			}}
			if fmt.Sprint(letters[0]) != fmt.Sprint(want) {
				t.Errorf("the letter of %s is\n%v, want\n%v", step, letters[0], want)
			}
			m := message.NewMessage(letters[0].ID, []byte(letters[0].Payload))
			m.Metadata = letters[0].Headers
			if _, _, err := flow.PutBack(m); !errors.Is(err, flow.ErrNotDead) {
				t.Errorf("putting back what is no message: %v", err)
			}
		}
		if got := w.on("invalid"); got != nil {
			t.Errorf("an interceptor sent %v", got)
		}
		got := seen.read()
		slices.Sort(got)
		if want := []string{"a good", "b good", "enter good", "enter good"}; !slices.Equal(got, want) {
			t.Errorf("asked: %q, want %q", got, want)
		}
		if got, want := s.read(), []string{"finished bad", "finished good"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Without a dead letter it waits, says so, and holds up its key alone. Breaks if it is acknowledged or
// dropped, or waits in silence.
func TestARecordThatIsNoMessageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s, w := newScript(), &wire{}
		r := scripted(t, s, w, flow.Policy{Redeliver: true, Backoff: flow.Fixed(time.Second)},
			flow.Step("a", sorted, done[parcel]()), flow.Logger(slog.New(slog.NewTextHandler(&log, nil))))
		s.give("sorted", garbled("bad", "k"),
			&adapters.Record{ID: "same key", Key: "k", Payload: []byte("{}")}, &adapters.Record{ID: "other key", Key: "o", Payload: []byte("{}")})
		r.wait(time.Hour)
		if got, want := s.read(), []string{"finished other key"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		r.h.Stop()
		if got, want := s.read(), []string{"finished other key", "returned bad", "returned same key"}; !slices.Equal(got, want) {
			t.Errorf("stopped: %q, want %q", got, want)
		}
		r.is("a", "received=1 done=1 returned=2")
		for _, want := range []string{"message waits for its dead letter", "the policy says Redeliver", "garbled"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.String())
			}
		}
	})
}

// manyHeaders are n headers, each made when somebody asks.
type manyHeaders int

func (manyHeaders) Get(string) string { return "" }

func (n manyHeaders) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range int(n) {
			if !yield(fmt.Sprint("name-", i), "value") {
				return
			}
		}
	}
}

// What comes with more headers or a longer key than anybody takes leaves a notice, and costs as little as
// that. Breaks if headers beyond the limits are copied, or if its letter cannot be published and waits for ever.
func TestARecordBeyondTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tooLong := strings.Repeat("k", 1<<20)
		s, w := newScript(), &wire{}
		r := scripted(t, s, w, quick(), flow.Step("a", arrivals, done[parcel]()))
		bad := garbled("many", "k")
		bad.Headers = manyHeaders(10_000)
		one := garbled("one", "k")
		one.Headers = channel.Fields{{Name: "n", Value: tooLong}}
		s.give("arrivals", bad, one) // pools are filled
		synctest.Wait()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.give("arrivals", bad)
		synctest.Wait()
		s.give("arrivals", one)
		synctest.Wait()
		runtime.ReadMemStats(&after)
		const most = 64 << 10
		if n := after.TotalAlloc - before.TotalAlloc; n > 2*most {
			t.Errorf("%d bytes were allocated to refuse two records, want at most %d", n, 2*most)
		}
		letters := w.on("dead")
		if len(letters) != 4 {
			t.Fatalf("%d letters", len(letters))
		}
		for _, l := range letters {
			if l.Headers[flow.DeadSize] != "4" || l.Payload != "\x00raw" || l.Key != "k" || l.Headers["n"] != "" || l.Headers[flow.DeadOrigin] != "orders/3/17" {
				t.Errorf("the notice is %.500s", fmt.Sprint(l))
			}
		}
		r.is("a", "received=4 invalid=4")
	})
}

// A key that no publisher takes is left out of the notice, or the letter would wait for ever.
func TestALetterWithAKeyThatIsTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := newScript(), &limited{}
		f := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]()))
		h := must(f.Start(context.Background(), w, s))(t)
		defer h.Stop()
		s.give("arrivals", garbled("bad", strings.Repeat("k", 10_000)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(w.taken) != 1 || w.taken[0].Metadata[channel.HeaderKey] != "" || w.taken[0].Metadata[flow.DeadSize] != "4" {
			t.Errorf("the letter is %.300s", fmt.Sprint(w.taken))
		}
	})
}

// limited takes no message with a long key.
type limited struct{ taken message.Messages }

func (l *limited) Publish(_ string, ms ...*message.Message) error {
	for _, m := range ms {
		if len(m.Metadata[channel.HeaderKey]) > 8<<10 {
			return fmt.Errorf("%w: its key", channel.ErrTooLarge)
		}
		l.taken = append(l.taken, m)
	}
	return nil
}

func (*limited) Close() error { return nil }

// Its trace has its place among the others: an end that is no success, above its letter.
func TestTraceOfARecordThatIsNoMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := mustNew(t, "f", quick(), flow.Step("a", arrivals, done[parcel]()))
		traces := &leattest.Traces{}
		f.Observe(traces.Config())
		s := newScript()
		h := must(f.Start(context.Background(), &wire{to: nowhere{}}, s))(t)
		s.give("arrivals", garbled("bad", "k"))
		synctest.Wait()
		h.Stop()
		traces.Check(t, f)
		compareTree(t, traces.Spans(), `
process arrivals @a = invalid ! permanent
	send dead @a
`)
	})
}
