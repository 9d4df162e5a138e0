package aggregator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/leat-go/leat/channel"
)

// takeOver releases a group that somebody else closed.
func (a *Aggregator[In, Out]) takeOver(ctx context.Context, r ClaimRequest) (channel.Result, error) {
	g, err := a.Store.Claim(ctx, r)
	switch {
	case err == nil:
		return a.release(ctx, g)
	case errors.Is(err, ErrReleased):
		return channel.Drop(alreadyReleased), nil
	case errors.Is(err, ErrNoGroup) && r.Member == channel.ID{}:
		return channel.Drop(alreadyReleased), nil
	}
	// A member whose group is nowhere was lost by the store: tried again it opens a new one.
	return channel.Result{}, unreachable(fmt.Errorf("claiming a group: %w", err))
}

// release makes the group's one message. Its id is the group's, whoever releases it and however often.
// If that fails or panics the group is given back, so that the next try need not wait for the lease to
// end.
func (a *Aggregator[In, Out]) release(ctx context.Context, g Group) (r channel.Result, err error) {
	done := false
	defer func() {
		if done {
			return
		}
		rerr := a.Store.Return(context.WithoutCancel(ctx), g)
		if err != nil && rerr != nil { // the lease will end
			err = fmt.Errorf("%w (and giving the group back: %s)", err, rerr.Error())
		}
	}()
	out, err := a.combine(g)
	if err != nil {
		return channel.Result{}, err
	}
	key := g.Key
	if a.Key != nil {
		key = a.Key(g.Key)
	}
	d := channel.To(a.To, out).
		ID(g.Key+"/"+strconv.FormatInt(g.Generation, 10)).
		Of(g.Entries...).
		Key(key).
		Set(channel.HeaderCompleted, g.Reason)
	done = true
	return a.settle(channel.Send(d), g), nil
}

// settle ties the group's end to the result's.
func (a *Aggregator[In, Out]) settle(r channel.Result, g Group) channel.Result {
	return r.Releases(g.Held).Settle(func(ctx context.Context, err error) error {
		if err != nil {
			return a.Store.Return(ctx, g)
		}
		return a.Store.Release(ctx, ReleaseRequest{Group: g, Remember: a.remember(), Once: a.once()})
	})
}

// combine makes the group's body.
func (a *Aggregator[In, Out]) combine(g Group) (out Out, err error) {
	if a.Fold != nil {
		if len(g.Entries) != 1 {
			return out, channel.Permanent(fmt.Errorf("reading a group: a folded group has one entry, this has %d: was it made by Combine?", len(g.Entries)))
		}
		if out, err = channel.Body[Out](g.Entries[0]); err != nil {
			return out, fmt.Errorf("reading the state of a group: %w", err)
		}
		return out, nil
	}
	members := make([]In, len(g.Entries))
	for i := range g.Entries {
		if members[i], err = channel.Body[In](g.Entries[i]); err != nil {
			return out, fmt.Errorf("reading member %q of a group: %w", g.Entries[i].ID(), err)
		}
	}
	if out, err = a.Combine(g.Key, members); err != nil {
		return out, fmt.Errorf("combining the %d members of a group: %w", len(members), err)
	}
	return out, nil
}

// fire releases a group that is due.
func (a *Aggregator[In, Out]) fire(ctx context.Context, scope, key string) (channel.Result, error) {
	r := ClaimRequest{Scope: scope, Key: key, Lease: a.lease(), Early: channel.IsEarly(ctx)}
	return a.takeOver(ctx, r)
}

func (a *Aggregator[In, Out]) due(ctx context.Context, r channel.DueRequest) (channel.Due, error) {
	return a.Store.Due(ctx, r)
}

// failed sends the whole group to the dead letter, not the one message that happened to complete it.
func (a *Aggregator[In, Out]) failed(e *channel.Envelope, why error) (channel.Result, error) {
	r := ClaimRequest{Scope: e.Scope(), Key: e.Key(), Lease: a.lease()}
	if !e.Tick() {
		body, err := channel.Body[In](e.Entry())
		if err != nil {
			return channel.Result{}, nil //nolint:nilerr // It never was a member.
		}
		r.Key, r.Member = a.Correlate(body), e.UID()
		if r.Key == "" {
			return channel.Result{}, nil
		}
	}
	g, err := a.Store.Claim(context.WithoutCancel(e.Context()), r)
	switch {
	case errors.Is(err, ErrReleased), errors.Is(err, ErrBusy):
		return channel.Drop("released elsewhere"), nil // with its group
	case errors.Is(err, ErrNoGroup):
		return channel.Result{}, nil // the store lost it: the message dies alone
	case err != nil: // the group must not lose one member to the dead letter and keep the others
		return channel.Result{}, unreachable(fmt.Errorf("claiming a group for the dead letter: %w", err))
	}
	members := slices.Clone(g.Entries) // the result outlives the claim
	if a.Fold != nil && !e.Tick() {
		members = append(members, e.Entry())
	}
	return a.settle(channel.Dead(why, members...), g), nil
}
