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
	err    error // of Fold, not of the store
}

// fold is AddRequest.Fold. The state is an entry whose body is the Out; it has the id and key of the
// group's first member and the most hops of any.
func (f *folding[In, Out]) fold(state channel.Entry, first bool) (next channel.Entry, complete bool, err error) {
	defer func() { f.err = err }()
	var acc Out
	member := f.member.Entry()
	if first {
		state = member
	} else if acc, err = channel.Body[Out](state); err != nil {
		return next, false, fmt.Errorf("reading the state of group %q: %w", f.key, err)
	}
	if acc, err = f.a.Fold(acc, f.member.Body); err != nil {
		return next, false, fmt.Errorf("folding into group %q: %w", f.key, err)
	}
	arrival := channel.Arrival{
		Topic: string(f.a.To), Scope: f.member.Scope(), ID: state.ID(), Key: state.Key(), Body: acc, HasBody: true,
	}
	if hops := max(state.Hops(), member.Hops()); hops > 0 {
		arrival.Headers = channel.Fields{{Name: channel.HeaderHops, Value: strconv.Itoa(hops)}}
	}
	var e channel.Envelope
	e.Arrive(&arrival)
	return e.Entry(), f.a.CompleteFold != nil && f.a.CompleteFold(f.key, acc), nil
}
