package channel

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// InvalidChannel is the Invalid Message Channel as an interceptor: a message that cannot be read or
// makes no sense is sent to To, with its bytes as they came and the reason in HeaderReason, instead of
// the dead letter. The dead letter is for messages that could not be delivered; this is for messages
// that should not have been sent.
// Source: Invalid Message Channel, Enterprise Integration Patterns, page 115.
type InvalidChannel struct {
	To Topic[[]byte] // required
	// When says which errors mean that the message is wrong rather than its processing. Nil: ErrDecode
	// and ErrInvalid.
	When func(error) bool
}

var errInvalidTo = errors.New("channel.InvalidChannel.To is empty: name the topic that invalid messages go to")

// Shape declares the outlet "invalid".
func (x InvalidChannel) Shape() Shape {
	s := Shape{Pattern: "Invalid Message Channel", Outlets: []Outlet{Out("invalid", x.To)}}
	if x.To == "" {
		s.Err = errInvalidTo
	}
	return s
}

// Enter lets every message pass; the exit answers for the invalid ones.
func (x InvalidChannel) Enter(e *Envelope) (Result, Exit, error) {
	return Result{}, func(r Result, err error) (Result, error) {
		if err == nil || e.Tick() || !x.matches(err) { // time itself cannot be forwarded
			return r, err
		}
		return Send(ForwardRaw(x.To, e).Set(HeaderReason, Reason(err))).As(Invalid), nil
	}, nil
}

func (x InvalidChannel) matches(err error) bool {
	if x.When != nil {
		return x.When(err)
	}
	return errors.Is(err, ErrDecode) || errors.Is(err, ErrInvalid)
}

// Reason gives an error's text as a header's value: one line of at most 1 KiB.
func Reason(err error) string {
	const limit = 1024
	b := make([]byte, 0, limit)
	for _, r := range err.Error() {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			r = ' '
		}
		if len(b)+len(string(r)) > limit {
			break
		}
		b = append(b, string(r)...)
	}
	return string(b)
}
