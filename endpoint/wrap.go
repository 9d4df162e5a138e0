package endpoint

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// ErrNacked: a wrapped handler called Nack on its message and returned no error. The message is tried
// again as after any error.
var ErrNacked = errors.New("watermill handler nacked the message: return an error that says why")

// A WatermillConsumer is an existing Watermill handler that publishes nothing, as a block. The handler
// gets a copy of the message, with its context, anew at each attempt: it may change it. Nil is done, an
// error is the message's. Ack is harmless and does nothing: the engine acknowledges, after the handler
// returned nil. Nack is ErrNacked; once the handler has returned it comes too late. Tombstones arrive
// with a nil payload. It is safe for concurrent use if Handle is.
//
// Source: Service Activator, Enterprise Integration Patterns, page 532.
type WatermillConsumer struct {
	Handle message.NoPublishHandlerFunc // required
}

// Wrap makes a block of a handler that publishes nothing, or publishes by itself. What it publishes by
// itself is out before the flow can settle: have it returned, and use WrapHandler, where that matters.
func Wrap(handle message.NoPublishHandlerFunc) WatermillConsumer {
	return WatermillConsumer{Handle: handle}
}

// Process calls the handler.
func (c WatermillConsumer) Process(m channel.Message[[]byte]) (channel.Result, error) {
	msg, err := own(m)
	if err != nil {
		return channel.Result{}, err
	}
	if err := c.Handle(msg); err != nil {
		return channel.Result{}, err
	}
	if nacked(msg) {
		return channel.Result{}, ErrNacked
	}
	return channel.Done(), nil
}

// Shape has no outlet.
func (c WatermillConsumer) Shape() channel.Shape {
	s := channel.Shape{Pattern: "Service Activator", Effect: channel.Acts, Tombstones: true}
	if c.Handle == nil {
		s.Err = fmt.Errorf("%w: Handle is nil: give it the handler to call", errWrap)
	}
	return s
}

// A WatermillHandler is an existing Watermill handler whose produced messages go to To, as a block.
// What the handler is given, and what its errors, Ack and Nack do, is as with WatermillConsumer. If it
// produces nothing the message is done.
//
// A produced message keeps its payload (nil is a tombstone) and its metadata; what it does not set it
// inherits, and channel.HeaderKey, if set, is its key. Its UUID is not kept. Most handlers make a
// random one at each call, so that the same work, done again after a crash, would look new to an
// idempotent receiver. The engine derives the id from the message, the step and the place among the
// produced messages instead: let the handler produce them in the same order each time.
//
// Source: Service Activator (two-way), Enterprise Integration Patterns, page 532.
type WatermillHandler struct {
	Handle message.HandlerFunc   // required
	To     channel.Topic[[]byte] // required; the produced messages
}

// WrapHandler makes a block of a handler that produces messages.
func WrapHandler(handle message.HandlerFunc, to channel.Topic[[]byte]) WatermillHandler {
	return WatermillHandler{Handle: handle, To: to}
}

// Process calls the handler and sends what it produced.
func (h WatermillHandler) Process(m channel.Message[[]byte]) (channel.Result, error) {
	msg, err := own(m)
	if err != nil {
		return channel.Result{}, err
	}
	produced, err := h.Handle(msg)
	if err != nil {
		return channel.Result{}, err
	}
	if nacked(msg) {
		return channel.Result{}, ErrNacked
	}
	if len(produced) == 0 {
		return channel.Done(), nil
	}
	ds := make([]channel.Delivery, len(produced))
	for i, p := range produced {
		if p == nil {
			return channel.Result{}, channel.Permanent(fmt.Errorf("%w: the handler's message %d of %d is nil", errWrapHandler, i+1, len(produced)))
		}
		ds[i] = h.delivery(p)
	}
	return channel.Send(ds[0], ds[1:]...), nil
}

func (h WatermillHandler) delivery(p *message.Message) channel.Delivery {
	var d channel.Delivery
	if p.Payload == nil {
		d = channel.Delete(h.To, "")
	} else {
		d = channel.To(h.To, []byte(p.Payload))
	}
	// Sorted, for equal results at every attempt: metadata is a map.
	for _, name := range slices.Sorted(maps.Keys(p.Metadata)) {
		switch name {
		case channel.HeaderKey:
			d = d.Key(p.Metadata[name])
		case channel.HeaderHops, channel.HeaderOriginal, channel.HeaderOnly:
			// They speak of the message the handler was given, whose metadata many handlers pass on.
			// Copied, they would reset the loop guard or address the answer to this very step.
		default:
			d = d.Set(name, p.Metadata[name])
		}
	}
	return d
}

// Shape has the outlet "produced".
func (h WatermillHandler) Shape() channel.Shape {
	s := channel.Shape{
		Pattern:    "Service Activator",
		Outlets:    []channel.Outlet{channel.Out("produced", h.To)},
		Effect:     channel.Acts,
		Tombstones: true,
		Err:        topicErr(errWrapHandler, string(h.To)),
	}
	if h.Handle == nil {
		s.Err = errors.Join(fmt.Errorf("%w: Handle is nil: give it the handler to call", errWrapHandler), s.Err)
	}
	return s
}

var (
	errWrap        = errors.New("endpoint.Wrap")
	errWrapHandler = errors.New("endpoint.WrapHandler")
)

// own gives a message that is the handler's own. Watermill lets a handler change the payload, and ours
// may be needed again: for the next attempt, for the dead letter.
func own(m channel.Message[[]byte]) (*message.Message, error) {
	msg, err := m.Watermill()
	if err != nil {
		return nil, err
	}
	msg.Payload = bytes.Clone(msg.Payload)
	return msg, nil
}

func nacked(msg *message.Message) bool {
	select {
	case <-msg.Nacked():
		return true
	default:
		return false
	}
}
