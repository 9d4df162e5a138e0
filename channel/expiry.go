package channel

import (
	"errors"
	"time"
)

// Expiry is Message Expiration as an interceptor: a message whose deadline (HeaderExpires, set with
// Expires) has passed, on arrival or during the work, is sent to To, with its bytes as they came,
// instead of the block or the dead letter. Without it an expired message goes to the dead letter.
// Source: Message Expiration, Enterprise Integration Patterns, page 176.
type Expiry struct {
	To Topic[[]byte] // required
}

// Expires is the header a sender sets: channel.Expires.Put(d, time.Now().Add(time.Minute)).
const Expires Header[time.Time] = HeaderExpires

var errExpiryTo = errors.New("channel.Expiry.To is empty: name the topic that expired messages go to")

// Shape declares the outlet "expired".
func (x Expiry) Shape() Shape {
	s := Shape{Pattern: "Message Expiration", Outlets: []Outlet{Out("expired", x.To)}}
	if x.To == "" {
		s.Err = errExpiryTo
	}
	return s
}

// Enter answers for a message that is expired already.
func (x Expiry) Enter(e *Envelope) (Result, Exit, error) {
	exit := func(r Result, err error) (Result, error) {
		if err != nil && !e.Tick() && IsExpired(e.Context(), err) {
			return x.expired(e), nil
		}
		return r, err
	}
	at, ok, err := e.Expires()
	if err != nil {
		return Result{}, exit, err
	}
	if ok && !time.Now().Before(at) {
		return x.expired(e), nil, nil
	}
	return Result{}, exit, nil
}

func (x Expiry) expired(e *Envelope) Result {
	return Send(ForwardRaw(x.To, e).Set(HeaderExpires, "")).As(Expired) // it has expired once
}
