package subscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A stage is one record, and one behind it, in each place where all may end: in flight, in a pause, on
// its way to the dead letter, waiting to be sent there again, and not yet taken.
type stage struct {
	*rig

	post  *post
	taken *message.Message
}

const day = 24 * time.Hour

func stageOf(t *testing.T) stage {
	t.Helper()
	c := letters(&post{hold: make(chan struct{}), fail: func(_ int, o *adapters.Outgoing) error {
		if o.Key == "refused" {
			return errDown
		}
		return nil
	}})
	c.Backoff = Backoff{Base: 1000 * day, Cap: 1000 * day}
	s := stage{post: c.Publish.(*post)}
	rs := rec("taken.1", "taken.2", "paused.1", "paused.2", "buried.1", "buried.2", "refused.1", "refused.2")
	rs[4].Again, rs[6].Again = 2, 2
	rs[0].Context = context.Background() // and not one that ends with the claim's
	s.rig = deliver(t, c, claimOf(adapters.KeyOrdered, rs...))
	ms := s.get(t, "taken.1", "paused.1", "buried.1", "refused.1")
	s.taken = ms[0]
	ms[1].Nack()
	ms[3].Nack()
	synctest.Wait()
	s.result()
	ms[2].Nack()
	synctest.Wait()
	s.claim.add(rec("offered.1", "offered.2")...)
	s.claim.did(t, "", "")
	t.Cleanup(s.result)
	return s
}

// result has the publisher tell what became of what it has.
func (s stage) result() {
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	close(s.post.hold)
	s.post.hold = make(chan struct{})
}

// gave fails unless exactly these records were returned, those of one key in order.
func (s stage) gave(t *testing.T, returned ...string) {
	t.Helper()
	synctest.Wait()
	s.claim.mu.Lock()
	defer s.claim.mu.Unlock()
	got := slices.Clone(s.claim.returned)
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(keyIn(a), keyIn(b)) })
	slices.SortStableFunc(returned, func(a, b string) int { return strings.Compare(keyIn(a), keyIn(b)) })
	if !slices.Equal(got, returned) {
		t.Fatalf("returned %v, want %v", got, returned)
	}
}

func keyIn(id string) string { return id[:strings.IndexByte(id, '.')] }

// After ownership is lost nothing is offered, tried again, published, returned or acknowledged; contexts
// end with the cause.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stageOf(t)
		var cause error
		context.AfterFunc(s.taken.Context(), func() {
			cause = context.Cause(s.taken.Context())
			s.taken.Ack()
		})
		s.claim.revoke(errRevoked)
		s.over(t, true)
		s.none(t)
		if !errors.Is(cause, errRevoked) || s.taken.Context().Err() == nil {
			t.Errorf("the context of what was in flight ended with %v", cause)
		}
		letter := s.post.all()[1].Context
		if !errors.Is(context.Cause(letter), errRevoked) || letter.Err() == nil {
			t.Errorf("the context of the publish ended with %v", context.Cause(letter))
		}
		s.result()
		pass(2000 * day)
		s.claim.did(t, "", "")
		if s.post.ids() != "refused.1 buried.1" {
			t.Errorf("published %s", s.post.ids())
		}
	})
}

// Ownership may be lost while what is in flight is still waited for.
func TestLostWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stageOf(t)
		s.stop()
		synctest.Wait()
		s.claim.revoke(errRevoked)
		s.over(t, true)
		s.taken.Ack()
		s.result()
		s.gave(t, "paused.1", "paused.2", "refused.1", "refused.2", "offered.1", "offered.2")
		if len(s.claim.finished) > 0 {
			t.Errorf("finished %v", s.claim.finished)
		}
		if cause := context.Cause(s.taken.Context()); !errors.Is(cause, errRevoked) {
			t.Errorf("the context of what was in flight ended with %v", cause)
		}
	})
}

// When reading ends nothing more is offered. What waits is given back at once, in order; what is in
// flight, or on its way to the dead letter, may still come to its end. It ends by ctx and by the end of
// the claim's records.
func TestDrain(t *testing.T) {
	for name, stop := range map[string]func(stage){
		"context ends":         func(s stage) { s.stop() },
		"subscriber is closed": func(s stage) { s.claim.shut() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stageOf(t)
				stop(s)
				s.none(t)
				s.gave(t, "paused.1", "paused.2", "refused.1", "refused.2", "offered.1", "offered.2")
				pass(9 * time.Second)
				s.over(t, false)
				if s.taken.Context().Err() != nil || s.post.all()[1].Context.Err() != nil {
					t.Error("the context of what is in flight has ended with the subscription's")
				}
				s.taken.Ack()
				synctest.Wait()
				s.result()
				s.over(t, true)
				if !slices.Equal(s.claim.finished, []string{"taken.1", "buried.1"}) {
					t.Errorf("finished %v", s.claim.finished)
				}
				s.gave(t, "paused.1", "paused.2", "refused.1", "refused.2", "offered.1", "offered.2", "taken.2", "buried.2")
				slices.Sort(s.claim.unseen)
				if want := []string{"buried.2", "offered.1", "offered.2", "paused.2", "refused.2", "taken.2"}; !slices.Equal(s.claim.unseen, want) {
					t.Errorf("unseen are %v, want %v", s.claim.unseen, want)
				}
				s.none(t)
			})
		})
	}
}

// A nack while all ends says nothing against the message: it is given back, and is no attempt. So it is
// when both come at once.
func TestNackWhileDraining(t *testing.T) {
	for n := range 50 {
		synctest.Test(t, func(t *testing.T) {
			p := &post{}
			rs := rec("a.1", "a.2")
			rs[0].Again = 2
			r := deliver(t, letters(p), claimOf(adapters.KeyOrdered, rs...))
			m := r.next(t, "a.1")
			r.stop()
			if n == 0 {
				synctest.Wait()
			}
			m.Nack()
			r.over(t, true)
			r.claim.did(t, "", "a.1 a.2")
			if p.ids() != "" {
				t.Errorf("published %s", p.ids())
			}
		})
	}
}

// All ends at once, though Next may be slow to say so.
func TestSlowNext(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t)
			s.claim.mu.Lock()
			s.claim.late = make(chan struct{})
			s.claim.mu.Unlock()
			if lost {
				s.claim.revoke(errRevoked)
			} else {
				s.stop()
			}
			s.none(t)
			go func() { // a reader that waits
				select {
				case m := <-s.out:
					t.Errorf("%s is offered", m.UUID)
				case <-s.done:
				}
			}()
			synctest.Wait()
			s.result()
			if lost {
				s.claim.did(t, "", "")
			} else {
				s.taken.Ack()
				s.gave(t, "paused.1", "paused.2", "refused.1", "refused.2", "offered.1", "offered.2", "taken.2", "buried.2")
			}
			s.over(t, false)
			close(s.claim.late)
			s.over(t, true)
		})
	}
}

// When Drain is over what is in flight is given back, its context ends with the reason, and an
// acknowledgement that comes then is ignored.
func TestDrainIsOver(t *testing.T) {
	for _, waits := range []bool{false, true} { // somebody waits for the context, or nobody
		synctest.Test(t, func(t *testing.T) {
			s := stageOf(t)
			if waits {
				s.taken.Context().Done()
			}
			s.stop()
			pass(10*time.Second - 1)
			s.over(t, false)
			pass(1)
			s.over(t, true)
			for _, ctx := range []context.Context{s.taken.Context(), s.post.all()[1].Context} {
				if cause := context.Cause(ctx); !errors.Is(cause, channel.ErrStopped) || ctx.Err() == nil {
					t.Errorf("the context of what was in flight ended with %v", cause)
				}
			}
			s.taken.Ack()
			s.result()
			s.gave(t, "paused.1", "paused.2", "refused.1", "refused.2", "offered.1", "offered.2", "taken.1", "taken.2", "buried.1", "buried.2")
			if len(s.claim.finished) > 0 {
				t.Errorf("finished %v", s.claim.finished)
			}
		})
	}
}

// What comes with the claim's last error is given back too, and what ended before it began.
func TestEndsBeforeItBegins(t *testing.T) {
	for _, order := range []adapters.Order{adapters.Ordered, adapters.KeyOrdered, adapters.Unordered} {
		synctest.Test(t, func(t *testing.T) {
			claim := &lastRun{fakeClaim: claimOf(order, rec("a.1", "a.2", "a.3")...)}
			defer claim.revoke(nil)
			out := make(chan *message.Message)
			defer close(out)
			go func() { // a reader that waits
				for m := range out {
					t.Errorf("%v: %s is offered", order, m.UUID)
				}
			}()
			ctx, stop := context.WithCancel(t.Context())
			synctest.Wait()
			(&Config{}).Deliver(ctx, claim, out)
			stop()
			(&Config{}).Deliver(ctx, claim, out)
			if order == adapters.Unordered {
				slices.Sort(claim.returned[:3])
				slices.Sort(claim.returned[3:])
			}
			claim.did(t, "", "a.1 a.2 a.3 a.1 a.2 a.3")

			claim = &lastRun{fakeClaim: claimOf(order, rec("a.1", "a.2", "a.3")...)}
			claim.revoke(errRevoked)
			(&Config{}).Deliver(t.Context(), claim, out)
			claim.did(t, "", "")
		})
	}
}

// lastRun is a claim whose first Next is its last.
type lastRun struct{ *fakeClaim }

func (c *lastRun) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	return append(run, c.records...), errClosed
}

// Acknowledgements that come while the claim is busy go to it together. Breaks if each is a call, as many goroutines
// would make it.
func TestFinishTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		claim := claimOf(adapters.KeyOrdered, rec("a.1", "b.1", "c.1", "c.2")...)
		busy := make(chan struct{})
		claim.onFinish = func() { <-busy }
		r := deliver(t, Config{}, claim)
		ms := r.get(t, "a.1", "b.1", "c.1")
		ms[0].Ack()
		synctest.Wait()
		ms[1].Ack()
		synctest.Wait()
		ms[2].Ack()
		synctest.Wait()
		close(busy)
		r.claim.did(t, "a.1 b.1 c.1", "")
		if len(claim.runs) != 2 || len(claim.runs[1]) != 2 {
			t.Errorf("finished in runs of %v", claim.runs)
		}
		r.next(t, "c.2")
	})
}

// The claim's end is noticed though nobody reads: only Next tells of it, and it is always asked. Breaks if records are taken
// from the claim as they are offered.
func TestClosedWhileNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		for i := range 3 * runLength {
			ids = append(ids, fmt.Sprint("k", i, ".1"))
		}
		r := deliver(t, Config{}, claimOf(adapters.KeyOrdered, rec(ids...)...))
		synctest.Wait()
		r.claim.shut()
		r.over(t, true)
		if n := len(r.claim.returned); n != len(ids) {
			t.Errorf("%d of %d are given back", n, len(ids))
		}
		if n := len(r.claim.unseen); n != len(ids) {
			t.Errorf("of %d that nobody has seen %d are said to be", len(ids), n)
		}
	})
}

// What is acknowledged is finished, though the next message is in flight and nothing else happens.
func TestFinishedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Message: func(r *adapters.Record) *message.Message {
			if r.ID == "b.1" { // so that somebody waits for it by the time it is offered
				time.Sleep(time.Millisecond)
			}
			return plain(r)
		}}
		r := deliver(t, c, claimOf(adapters.KeyOrdered, rec("a.1", "b.1")...))
		(<-r.out).Ack()
		<-r.out
		r.claim.did(t, "a.1", "")
	})
}

// What has no order is given back at once, whatever is in flight; and of what comes again, nobody is told that it was not
// seen.
func TestGivenBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := deliver(t, Config{Lanes: 2, Backoff: short}, claimOf(adapters.Unordered, rec("1", "2", "3", "4")...))
		ms := r.get(t, "1", "2")
		ms[0].Nack()
		r.next(t, "3")
		pass(short.Cap) // 1 is due again, and waits for a lane
		r.stop()
		synctest.Wait()
		returned, unseen := slices.Sorted(slices.Values(r.claim.returned)), r.claim.unseen
		if !slices.Equal(returned, []string{"1", "4"}) || !slices.Equal(unseen, []string{"4"}) {
			t.Errorf("%v are given back, %v of them unseen", returned, unseen)
		}
		ms[1].Ack()
		r.over(t, false)
	})
	synctest.Test(t, func(t *testing.T) { // it is offered again, and nobody takes it
		r := deliver(t, Config{Backoff: short}, claimOf(adapters.KeyOrdered, rec("a.1", "a.2")...))
		r.next(t, "a.1").Nack()
		pass(short.Cap)
		synctest.Wait()
		r.stop()
		r.claim.did(t, "", "a.1 a.2")
		if !slices.Equal(r.claim.unseen, []string{"a.2"}) {
			t.Errorf("unseen are %v", r.claim.unseen)
		}
	})
}
