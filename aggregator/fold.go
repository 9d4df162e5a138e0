package aggregator

import (
	"fmt"
	"strconv"

	"github.com/leat-go/leat/channel"
)

// A folding is one member on its way into a folded group.
type folding[In, Out any] struct {
	a      *Aggregator[In, Out]
	key    string
	member channel.Message[In]
}

// A foldError is the member's own, not the store's.
type foldError struct{ err error }

func (f *foldError) Error() string { return f.err.Error() }
func (f *foldError) Unwrap() error { return f.err }

// fold adds a member to a folded group.
func (a *Aggregator[In, Out]) fold(m channel.Message[In], r AddRequest) (Added, error) {
	f := folding[In, Out]{a: a, key: r.Key, member: m}
	r.Fold = f.fold
	return a.Store.Add(m.Context(), r)
}

// fold is AddRequest.Fold. The state is an entry whose body is the Out; it has the id and key of the
// group's first member and the most hops of any.
func (f *folding[In, Out]) fold(state channel.Entry, first bool) (next channel.Entry, complete bool, err error) {
	var acc Out
	member := f.member.Entry()
	if first {
		state = member
	} else if acc, err = channel.Body[Out](state); err != nil {
		return next, false, &foldError{fmt.Errorf("reading the state of a group: %w", err)}
	}
	if acc, err = f.a.Fold(acc, f.member.Body); err != nil {
		return next, false, &foldError{fmt.Errorf("folding into a group: %w", err)}
	}
	arrival := channel.Arrival{
		Topic: string(f.a.To), Scope: f.member.Scope(), ID: state.ID(), Key: state.Key(), Body: acc, HasBody: true,
	}
	var headers channel.Fields
	if hops := max(state.Hops(), member.Hops()); hops > 0 {
		headers = append(headers, channel.Field{Name: channel.HeaderHops, Value: strconv.Itoa(hops)})
	}
	members, n := "", 0
	if !first {
		members = state.Get(channel.HeaderMembers)
		n, _ = strconv.Atoi(state.Get(channel.HeaderMemberCount))
	}
	if carried := f.member.Carried(); len(carried) > 0 || n > 0 {
		headers = append(headers, channel.Field{Name: channel.HeaderMembers, Value: channel.AddMember(members, n, carried)},
			channel.Field{Name: channel.HeaderMemberCount, Value: strconv.Itoa(n + 1)})
	}
	if past := state.Get(channel.HeaderHistory); past != "" { // the first member's
		headers = append(headers, channel.Field{Name: channel.HeaderHistory, Value: past})
	}
	if headers != nil {
		arrival.Headers = headers
	}
	var e channel.Envelope
	e.Arrive(&arrival)
	return e.Entry(), f.a.CompleteFold != nil && f.a.CompleteFold(f.key, acc), nil
}
