package faults_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/leat-go/leat/channel"
)

// Where it panics, always or, with "once", at the first attempt; and the step whose dead letter it is.
// Errors that cannot say what they are, and rules that cannot look at one, are among them.
var panics = channel.Fields{
	{Name: "encode", Value: "map"},
	{Name: "decode", Value: "map"},
	{Name: "predicate", Value: "route"},
	{Name: "mapper", Value: "map"},
	{Name: "enter", Value: "do"},
	{Name: "exit", Value: "do"},
	{Name: "key", Value: "do"},
	{Name: "handler", Value: "do"},
	{Name: "error", Value: "do"},
	{Name: "rule", Value: "do"},
	{Name: "correlate", Value: "pack"},
	{Name: "combine", Value: "pack"},
}

var errRule = errors.New("an error that a rule cannot look at")

// boom panics if the item says so.
func (w *world) boom(x item, where string) {
	at, once := strings.CutSuffix(x.Fault, " once")
	if at != where || once && w.dice.throws("boom", x.ID) > 1 {
		return
	}
	w.ledger.count("panics")
	switch w.dice.roll(4, "panic", x.ID) {
	case 0:
		panic("boom")
	case 1:
		panic(fmt.Errorf("boom: %w", errFlaky))
	case 2:
		var none []string
		_ = none[len(x.ID)]
	}
	panic(nil)
}

// A brokenError panics when somebody asks what it says, as a typed nil does.
type brokenError struct{ text *string }

func (e *brokenError) Error() string { return *e.text }

func (w *world) boomed(m channel.Message[item]) error {
	w.boom(m.Body, "handler")
	switch m.Body.Fault {
	case "error":
		return &brokenError{}
	case "rule":
		return errRule
	}
	w.ledger.effect(m.Body.ID)
	return nil
}

// A fragile codec is JSON that panics.
type fragile struct {
	channel.JSON

	w *world
}

func (c fragile) ContentType() string { return "application/fragile" }

func (c fragile) Encode(body any) ([]byte, error) {
	if x, ok := body.(item); ok {
		c.w.boom(x, "encode")
	}
	return c.JSON.Encode(body)
}

func (c fragile) Decode(payload []byte, body any) error {
	err := c.JSON.Decode(payload, body)
	if x, ok := body.(*item); ok && err == nil && bytes.Contains(payload, []byte("decode")) {
		c.w.boom(*x, "decode")
	}
	return err
}

// A nervous interceptor panics on the way in or out.
type nervous struct{ w *world }

func (n nervous) Shape() channel.Shape { return channel.Shape{Pattern: "nervous"} }

func (n nervous) Enter(e *channel.Envelope) (channel.Result, channel.Exit, error) {
	x, err := channel.Body[item](e.Entry())
	if err != nil {
		return channel.Result{}, nil, err
	}
	n.w.boom(x, "enter")
	return channel.Result{}, func(r channel.Result, err error) (channel.Result, error) {
		n.w.boom(x, "exit")
		return r, err
	}, nil
}

// keyOf is a Receiver.Key that panics.
func (w *world) keyOf(e *channel.Envelope) string {
	if x, err := channel.Body[item](e.Entry()); err == nil {
		w.boom(x, "key")
	}
	return e.ID()
}
