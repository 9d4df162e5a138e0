package router

import (
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// A MessageFilter forwards the messages it keeps. The others end here, dropped and counted under
// Reason, or are forwarded to Discard. It is safe for concurrent use if Keep is.
//
// Source: Message Filter, Enterprise Integration Patterns, page 237.
type MessageFilter[T any] struct {
	Keep    func(m channel.Message[T]) bool // required
	To      channel.Topic[T]                // required
	Discard channel.Topic[T]                // where the others go; "": they are dropped
	Reason  string                          // a fixed text, what dropped ones are counted under; "": "filtered"
}

// Filter keeps the messages whose body matches.
func Filter[T any](keep func(body T) bool, to channel.Topic[T]) MessageFilter[T] {
	f := MessageFilter[T]{To: to}
	if keep != nil { // A nil one is for Shape to report.
		f.Keep = func(m channel.Message[T]) bool { return keep(m.Body) }
	}
	return f
}

// FilterMessage keeps the messages that match by anything they have: body, headers, key.
func FilterMessage[T any](keep func(m channel.Message[T]) bool, to channel.Topic[T]) MessageFilter[T] {
	return MessageFilter[T]{Keep: keep, To: to}
}

// Process forwards m, or drops it.
func (f MessageFilter[T]) Process(m channel.Message[T]) (channel.Result, error) {
	switch {
	case f.Keep(m):
		return channel.Send(channel.Forward(f.To, m)), nil
	case f.Discard != "":
		return channel.Send(channel.Forward(f.Discard, m)), nil
	case f.Reason != "":
		return channel.Drop(f.Reason), nil
	}
	return channel.Drop("filtered"), nil
}

// Shape has the outlet "kept" and, if Discard is set, "discarded".
func (f MessageFilter[T]) Shape() channel.Shape {
	s := channel.Shape{Pattern: "Message Filter", Outlets: []channel.Outlet{channel.Out("kept", f.To)}, Err: f.check()}
	if f.Discard != "" {
		s.Outlets = append(s.Outlets, channel.Out("discarded", f.Discard))
	}
	return s
}

var errFilter = errors.New("router.Filter")

func (f MessageFilter[T]) check() error {
	var errs []error
	if f.Keep == nil {
		errs = append(errs, fmt.Errorf("%w: Keep is nil: give it the predicate of what goes on", errFilter))
	}
	errs = append(errs, topicErr(errFilter, "To", string(f.To)))
	if f.Discard != "" {
		errs = append(errs, topicErr(errFilter, "Discard", string(f.Discard)))
		if f.Reason != "" {
			errs = append(errs, fmt.Errorf("%w: Reason %q is never used while Discard is set: remove one of them", errFilter, f.Reason))
		}
	}
	return errors.Join(errs...)
}
