package router

import (
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// ErrNothingToSplit: a message has no parts, and the splitter was not told that this may be so. It is
// permanent. Set Splitter.AllowEmpty to drop such messages.
var ErrNothingToSplit = channel.Permanent(errors.New("message has no parts to split into: set AllowEmpty to drop such messages"))

// A Splitter sends the parts of a message, each as a message of its own. They form a Message Sequence
// (page 170) that an aggregator can put together again: headers HeaderSequence (the message's id),
// HeaderSequenceIndex (from 0) and HeaderSequenceSize; a split of a split keeps the outer one in
// HeaderSequenceOuter. The parts inherit headers and key. If one cannot be published the message is not
// acknowledged, and if it comes again its parts have the same ids, provided Parts gives the same parts
// in the same order. It is safe for concurrent use if Parts and EachKey are.
//
// All parts are in memory at once.
//
// Source: Splitter, Enterprise Integration Patterns, page 259.
type Splitter[T, P any] struct {
	Parts func(m channel.Message[T]) ([]P, error) // required; an error is the message's
	To    channel.Topic[P]                        // required
	// EachKey gives each part's key. Nil, or the key "": the message's own.
	EachKey func(part P) string
	// AllowEmpty drops a message without parts, counted under "nothing to split". False: it is
	// ErrNothingToSplit, for a message that silently becomes nothing is a lost one.
	AllowEmpty bool
}

// Split splits by a function of the body. It gives no error: what a body consists of is there once it
// is decoded. Where taking it apart can fail, or needs more than the body, use SplitMessage.
func Split[T, P any](parts func(body T) []P, to channel.Topic[P]) Splitter[T, P] {
	s := Splitter[T, P]{To: to}
	if parts != nil { // A nil one is for Shape to report.
		s.Parts = func(m channel.Message[T]) ([]P, error) { return parts(m.Body), nil }
	}
	return s
}

// SplitMessage splits by a function of the message, which may fail.
func SplitMessage[T, P any](parts func(m channel.Message[T]) ([]P, error), to channel.Topic[P]) Splitter[T, P] {
	return Splitter[T, P]{Parts: parts, To: to}
}

// Process sends the parts of m.
func (s Splitter[T, P]) Process(m channel.Message[T]) (channel.Result, error) {
	parts, err := s.Parts(m)
	if err != nil {
		return channel.Result{}, err
	}
	if len(parts) == 0 {
		if s.AllowEmpty {
			return channel.Drop("nothing to split"), nil
		}
		return channel.Result{}, ErrNothingToSplit
	}
	ds := make([]channel.Delivery, len(parts))
	for i := range parts {
		ds[i] = channel.To(s.To, parts[i])
		if s.EachKey != nil {
			ds[i] = ds[i].Key(s.EachKey(parts[i]))
		}
	}
	return channel.Sequence(m, ds), nil
}

// Shape has the outlet "part".
func (s Splitter[T, P]) Shape() channel.Shape {
	return channel.Shape{Pattern: "Splitter", Outlets: []channel.Outlet{channel.Out("part", s.To)}, Err: s.check()}
}

var errSplit = errors.New("router.Split")

func (s Splitter[T, P]) check() error {
	err := topicErr(errSplit, "To", string(s.To))
	if s.Parts == nil {
		err = errors.Join(fmt.Errorf("%w: Parts is nil: give it the function that takes a message apart", errSplit), err)
	}
	return err
}
