package idempotency_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/idempotency"
	"github.com/leat-go/leat/leattest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// arrive is a message that came as bytes.
func arrive(id, payload string, headers ...string) *channel.Envelope {
	var fs channel.Fields
	for i := 0; i+1 < len(headers); i += 2 {
		fs = append(fs, channel.Field{Name: headers[i], Value: headers[i+1]})
	}
	e := &channel.Envelope{}
	e.Arrive(&channel.Arrival{Context: context.Background(), Topic: "orders", Scope: "shop/charge", ID: id, Headers: fs, Payload: []byte(payload)})
	e.SetAttempt(1)
	return e
}

// process is what a flow does with one message at one attempt: enter, block, exit, publish, settle. It
// gives the outcome, or what the flow would go by.
func process(r channel.Interceptor, e *channel.Envelope, block func() (channel.Result, error), publish func() error) (channel.Outcome, error) {
	res, exit, err := r.Enter(e)
	if err == nil && res.Outcome() == channel.Unsaid {
		res, err = block()
	}
	if exit != nil {
		res, err = exit(res, err)
	}
	if err != nil {
		return channel.Unsaid, err
	}
	if publish != nil {
		err = publish()
	}
	if settle := res.Settler(); settle != nil {
		err = errors.Join(err, settle(context.WithoutCancel(e.Context()), err))
	}
	return res.Outcome(), err
}

func done() (channel.Result, error) { return channel.Done(), nil }

// A remote is a store behind a connection that can fail: it stands for one on a server, of which a
// Receiver does not know that it lives in the process.
type remote struct {
	idempotency.Store

	down   atomic.Bool
	empty  atomic.Bool // it knows of no claim
	renews atomic.Int64
	// fail is asked before a call, and after it: the call happened, and its answer is lost.
	fail func(call string, after bool) error
}

var errDown = errors.New("connection refused")

func (s *remote) err(call string, after bool) error {
	if s.down.Load() {
		return errDown
	}
	if s.fail != nil {
		return s.fail(call, after)
	}
	return nil
}

func (s *remote) Begin(ctx context.Context, r idempotency.BeginRequest) (idempotency.Claim, error) {
	if err := s.err("begin", false); err != nil {
		return idempotency.Claim{}, err
	}
	c, err := s.Store.Begin(ctx, r)
	if lost := s.err("begin", true); lost != nil {
		return idempotency.Claim{}, lost
	}
	return c, err
}

func (s *remote) Renew(ctx context.Context, c idempotency.Claim, lease time.Duration) error {
	s.renews.Add(1)
	if err := s.err("renew", false); err != nil {
		return err
	}
	if s.empty.Load() {
		return idempotency.ErrLost
	}
	return s.Store.Renew(ctx, c, lease)
}

func (s *remote) Commit(ctx context.Context, r idempotency.CommitRequest) error {
	if err := s.err("commit", false); err != nil {
		return err
	}
	err := s.Store.Commit(ctx, r)
	if lost := s.err("commit", true); lost != nil {
		return lost
	}
	return err
}

func (s *remote) Abort(ctx context.Context, c idempotency.Claim) error {
	if err := s.err("abort", false); err != nil {
		return err
	}
	return s.Store.Abort(ctx, c)
}

// seeds runs f with n seeds.
func seeds(t *testing.T, n int, f func(t *testing.T, rnd *rand.Rand)) {
	t.Helper()
	for seed := range leattest.Seeds(t, n) {
		func() {
			defer func() { // f may end the test
				if t.Failed() {
					t.Log(leattest.Replay(t, seed))
				}
			}()
			f(t, rand.New(rand.NewPCG(seed, 0)))
		}()
	}
}
