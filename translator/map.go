package translator

import (
	"errors"
	"fmt"

	"github.com/leat-go/leat/channel"
)

// A MessageTranslator sends what Translate makes of each message. An error of Translate is the
// message's: tried again, then the dead letter; wrap it with channel.Permanent, or in
// channel.ErrInvalid, when trying again cannot help. It is safe for concurrent use if Translate is.
//
// Source: Message Translator, Enterprise Integration Patterns, page 85.
type MessageTranslator[A, B any] struct {
	Translate func(m channel.Message[A]) (B, error) // required
	To        channel.Topic[B]                      // required
	// Key gives the new message's key. Nil, or the key "": the old one's.
	Key func(body B) string
}

// Map translates by a function of the body. It may fail, for what arrives need not make sense.
func Map[A, B any](translate func(body A) (B, error), to channel.Topic[B]) MessageTranslator[A, B] {
	t := MessageTranslator[A, B]{To: to}
	if translate != nil { // A nil one is for Shape to report.
		t.Translate = func(m channel.Message[A]) (B, error) { return translate(m.Body) }
	}
	return t
}

// MapMessage translates by a function of the message: body, headers, key.
func MapMessage[A, B any](translate func(m channel.Message[A]) (B, error), to channel.Topic[B]) MessageTranslator[A, B] {
	return MessageTranslator[A, B]{Translate: translate, To: to}
}

// Process sends what m is translated to.
func (t MessageTranslator[A, B]) Process(m channel.Message[A]) (channel.Result, error) {
	b, err := t.Translate(m)
	if err != nil {
		return channel.Result{}, err
	}
	d := channel.To(t.To, b)
	if t.Key != nil {
		d = d.Key(t.Key(b))
	}
	return channel.Send(d), nil
}

// Shape has the outlet "translated".
func (t MessageTranslator[A, B]) Shape() channel.Shape {
	return channel.Shape{
		Pattern: "Message Translator",
		Outlets: []channel.Outlet{channel.Out("translated", t.To)},
		Err:     t.check(),
	}
}

var errMap = errors.New("translator.Map")

func (t MessageTranslator[A, B]) check() error {
	var errs []error
	if t.Translate == nil {
		errs = append(errs, fmt.Errorf("%w: Translate is nil: give it the function that makes the new body", errMap))
	}
	switch {
	case t.To == "":
		errs = append(errs, fmt.Errorf("%w: To is empty: name the topic it sends to", errMap))
	case channel.IsPattern(string(t.To)):
		errs = append(errs, fmt.Errorf("%w: To is %q, which stands for many topics: name one", errMap, string(t.To)))
	}
	return errors.Join(errs...)
}
