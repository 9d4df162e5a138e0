package flow_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/translator"
)

// A lateAnswers is a publisher that keeps what is sent until it is let go.
type lateAnswers struct {
	message.Publisher
	mu   sync.Mutex
	outs []*adapters.Outgoing
	done []func([]*adapters.Outgoing)
	n    int // sends
}

func (s *lateAnswers) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	for _, o := range outs {
		s.outs, s.done = append(s.outs, o), append(s.done, done)
	}
}

func (s *lateAnswers) ids() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.outs {
		ids = append(ids, string(o.Payload))
	}
	return ids
}

// answer tells what became of what was sent so far.
func (s *lateAnswers) answer(err error) {
	s.mu.Lock()
	outs, done := s.outs, s.done
	s.outs, s.done = nil, nil
	s.mu.Unlock()
	for i, o := range outs {
		o.Err = err
		done[i]([]*adapters.Outgoing{o})
	}
}

// Sends of one key overlap: the next begins while the one before it is under way. Not so where a settle is to
// come. What has failed together goes out again in its order, and nothing of the key in between. Breaks if a
// lane holds the key during a send, lets go of it before a mark is written, or forgets who holds it.
func TestSendsOverlap(t *testing.T) {
	run := func(t *testing.T, check func(s *lateAnswers, put func(string)), parts ...flow.Part) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const in, out channel.Topic[string] = "in", "out"
			tries := map[string]int{}
			f, err := flow.New("f", append([]flow.Part{
				flow.Step("s", in, translator.Map(func(s string) (string, error) {
					if tries[s]++; s == "flaky" && tries[s] == 1 {
						return "", errFlaky
					}
					return s, nil
				}, out)), flow.Policy{DeadLetter: "dead", Backoff: flow.Fixed(time.Millisecond)},
			}, parts...)...)
			if err != nil {
				t.Fatal(err)
			}
			b := &memory.Broker{}
			s := &lateAnswers{Publisher: b.Publisher()}
			h, err := f.Start(t.Context(), s, b.Subscriber("g"))
			if err != nil {
				t.Fatal(err)
			}
			check(s, func(id string) {
				m := message.NewMessage(id, []byte(`"`+id+`"`))
				m.Metadata[channel.HeaderKey] = "k"
				if err := b.Publisher().Publish(string(in), m); err != nil {
					t.Error(err)
				}
				synctest.Wait()
			})
			s.answer(nil)
			h.Stop()
		})
	}
	same := func(t *testing.T, s *lateAnswers, want ...string) {
		t.Helper()
		got := s.ids()
		if len(got) != len(want) {
			t.Fatalf("sent are %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != `"`+want[i]+`"` {
				t.Errorf("sent are %v, want %v", got, want)
			}
		}
	}
	t.Run("pure", func(t *testing.T) {
		run(t, func(s *lateAnswers, put func(string)) {
			put("1")
			put("2")
			same(t, s, "1", "2")
		})
	})
	t.Run("a settle is to come", func(t *testing.T) {
		run(t, func(s *lateAnswers, put func(string)) {
			put("1")
			put("2")
			same(t, s, "1")
			s.answer(nil)
			synctest.Wait()
			same(t, s, "2")
		}, flow.Around(idempotency.Receiver{Store: &idempotency.Memory{}}))
	})
	t.Run("both fail", func(t *testing.T) {
		run(t, func(s *lateAnswers, put func(string)) {
			put("1")
			put("2")
			s.answer(adapters.ErrFull)
			put("3")
			same(t, s)              // it waits behind those that are sent again
			time.Sleep(time.Second) // virtual: their pause is over
			synctest.Wait()
			same(t, s, "1", "2")
			s.answer(nil)
			synctest.Wait()
			same(t, s, "3")
		})
	})
	t.Run("the next one waits for a shorter retry", func(t *testing.T) {
		run(t, func(s *lateAnswers, put func(string)) {
			put("1")
			put("flaky") // its pause is shorter than that of a publish
			s.answer(adapters.ErrFull)
			put("3")
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			same(t, s)
			time.Sleep(time.Second)
			synctest.Wait()
			same(t, s, "1", "flaky") // side by side, as at first
			s.answer(nil)
			synctest.Wait()
			same(t, s, "3")
		})
	})
}

// What came together is sent in one operation. Breaks if each message costs a publisher's lock and wakes whoever
// feeds the client.
func TestSendsGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const in, out channel.Topic[string] = "in", "out"
		b := &memory.Broker{}
		s := &lateAnswers{Publisher: b.Publisher()}
		f := mustNew(t, "f", flow.Policy{DeadLetter: "dead"}, flow.Workers(1),
			flow.Step("s", in, translator.Map(func(s string) (string, error) { return s, nil }, out)))
		h, err := f.Start(t.Context(), s, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		const n = 50
		ms := make([]*message.Message, n)
		for i := range ms {
			ms[i] = message.NewMessage(strconv.Itoa(i), []byte(`"x"`))
		}
		if err := b.Publisher().Publish(string(in), ms...); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := len(s.ids()); got != n || s.n > 5 {
			t.Errorf("%d messages went out in %d sends, want %d in a few", got, s.n, n)
		}
		s.answer(nil)
		h.Stop()
		if c := h.Counts()["s"]; c.Sent != n || !c.Balanced() {
			t.Errorf("the books say %v", c)
		}
	})
}

// A send that fails when its work has long been used for others leaves the books as they were: what is sent again
// counts once, at every step, and what dies has a dead letter with the message as it came.
func TestWhatFailsOnTheWayIsAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const in, between, out channel.Topic[string] = "in", "between", "out"
		pass := func(s string) (string, error) { return s, nil }
		b := &memory.Broker{}
		s := &lateAnswers{Publisher: b.Publisher()}
		f := mustNew(t, "f", flow.Policy{DeadLetter: "dead"}, flow.Workers(1), flow.Direct(between),
			flow.Step("first", in, translator.Map(pass, between)), flow.Step("second", between, translator.Map(pass, out)))
		h, err := f.Start(t.Context(), s, b.Subscriber("f"))
		if err != nil {
			t.Fatal(err)
		}
		put := func(id string) {
			m := message.NewMessage(id, []byte(`"`+id+`"`))
			m.Metadata["color"] = "red"
			if err := b.Publisher().Publish(string(in), m); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		put("again")
		s.answer(adapters.ErrFull)
		time.Sleep(time.Second)
		synctest.Wait()
		s.answer(nil)
		synctest.Wait()
		put("dies")
		s.answer(channel.Permanent(errFlaky))
		synctest.Wait()
		s.mu.Lock()
		letters := len(s.outs) == 1 && s.outs[0].Topic == "dead" && s.outs[0].ID == "dies" && s.outs[0].Headers.Get("color") == "red" &&
			s.outs[0].Headers.Get(flow.DeadAttempts) == "1"
		s.mu.Unlock()
		if !letters {
			t.Errorf("the dead letter is not what came")
		}
		s.answer(nil)
		h.Stop()
		for name, want := range map[string]string{"first": "received=2 sent=1 dead=1", "second": "received=1 sent=1"} {
			if got := h.Counts()[name].String(); got != want {
				t.Errorf("step %s: %s, want %s", name, got, want)
			}
		}
	})
}
