package flow_test

import (
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
}

func (s *lateAnswers) Send(outs []*adapters.Outgoing, done func([]*adapters.Outgoing)) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
			f, err := flow.New("f", append([]flow.Part{
				flow.Step("s", in, translator.Map(func(s string) (string, error) { return s, nil }, out)), flow.Policy{DeadLetter: "dead"},
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
}
