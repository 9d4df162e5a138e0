package idempotency

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

var errNoScope = channel.Permanent(errors.New("idempotency.Receiver.Middleware has no scope: give it the handler's name, for example \"orders/charge\""))

// Middleware is the receiver for a handler of a plain Watermill router. The scope, such as
// "orders/charge", keeps the marks of this handler apart from those of others; give each handler its
// own:
//
//	h := r.AddConsumerHandler("charge", "payments", sub, charge)
//	h.AddMiddleware(receiver.Middleware("orders/charge"))
//
// A middleware's success comes before the router publishes, so it cannot mark a message as done and
// leave it at that. What it does:
//
//   - On a consumer handler, which returns no messages and publishes in the handler if at all: begin,
//     handle, mark.
//   - On a producing handler: the messages it returns are stored with the mark before they are given
//     to the router. When the publish fails and the message is redelivered, or a duplicate comes, the
//     handler does not run; the stored messages are published again, under the same ids.
//     Receivers of theirs see duplicates and nothing is missing. Together they may have MaxResult
//     bytes; if there are more the message fails with channel.ErrTooLarge and is not marked.
//
// While another works on the key it returns ErrRunning at once, an error like others: the message is
// nacked and comes again. Put it inside Watermill's Retry and Poison middleware, which count that as a
// try, or better use flow.Handler, which does not. An error or a panic of the handler lets go of the
// claim and is passed on. Until it returns, the message's context carries the claim (ClaimOf).
func (r Receiver) Middleware(scope string) message.HandlerMiddleware {
	return func(h message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			return r.handle(scope, h, m)
		}
	}
}

func (r *Receiver) handle(scope string, h message.HandlerFunc, m *message.Message) ([]*message.Message, error) {
	if err := r.err(); err != nil {
		return nil, channel.Permanent(err)
	}
	if scope == "" {
		return nil, errNoScope
	}
	if m.UUID == "" && r.Key == nil {
		return nil, fmt.Errorf("message without a UUID: %w: set one when it is sent, or set Receiver.Key", ErrNoKey)
	}
	var e channel.Envelope
	e.Arrive(&channel.Arrival{
		Context: m.Context(), Topic: message.SubscribeTopicFromCtx(m.Context()), Scope: scope, ID: m.UUID,
		Key: m.Metadata.Get(channel.HeaderKey), Headers: channel.Metadata(m.Metadata), Payload: m.Payload,
	})
	c, err := r.begin(&e)
	if err != nil {
		return nil, err
	}
	if c.Done {
		out, err := decodeMessages(c.Result)
		if err != nil {
			return nil, fmt.Errorf("%s in scope %q is done: %w", named(c.Key, r.Key != nil), c.Scope, err)
		}
		return out, nil
	}
	return r.run(h, m, c)
}

// run has the handler work under a claim.
func (r *Receiver) run(h message.HandlerFunc, m *message.Message, c Claim) (out []*message.Message, err error) {
	own := m.Context()
	w := r.watch(own, c)
	handled := false
	defer func() { // a panic too
		m.SetContext(own)
		w.stop()
		if handled {
			return
		}
		if aerr := r.abort(own, c); aerr != nil && err != nil {
			err = fmt.Errorf("%w (its claim could not be let go: %v)", err, aerr) //nolint:errorlint // The handler's error decides.
		}
	}()
	m.SetContext(w.ctx)
	if out, err = h(m); err != nil {
		return out, err
	}
	result, err := encodeMessages(out)
	if err != nil {
		return nil, err
	}
	handled = true
	// What the handler did is done, whatever became of the message's context.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(own), r.leaseTime())
	defer cancel()
	if err := r.Store.Commit(ctx, CommitRequest{Claim: c, Result: result, Remember: r.remember()}); err != nil {
		return nil, r.failed("marking as done", c.Scope, c.Key, err)
	}
	return out, nil
}
