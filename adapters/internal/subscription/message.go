package subscription

import (
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/internal/lazy"
)

// HeaderAttempt counts the deliveries of a message, this one included, in the metadata of every delivery
// but the first. It is never published and never read: whoever sends it says nothing.
const HeaderAttempt = channel.HeaderAttempt

// plain is a record as Watermill has it.
func plain(r *adapters.Record) *message.Message {
	m := message.NewMessage(r.ID, r.Payload)
	switch hs := r.Headers.(type) {
	case nil:
	case channel.Fields:
		put(m, hs)
	case interface{ Fields() channel.Fields }:
		put(m, hs.Fields())
	default:
		maps.Insert(m.Metadata, hs.All())
	}
	if r.Key != "" {
		m.Metadata[channel.HeaderKey] = r.Key
	}
	return m
}

func put(m *message.Message, fs channel.Fields) {
	for i := range fs {
		m.Metadata[fs[i].Name] = fs[i].Value
	}
}

// context makes that of one attempt.
func (d *delivery) context(r *adapters.Record, again int) *messageContext {
	of := r.Context
	if of == nil {
		of = d.claim.Context()
	}
	return &messageContext{
		Context: lazy.Context{Context: of}, subscription: d.values, native: r.Native, again: again, doubtful: r.Doubtful,
	}
}

// message makes the record a message. Each attempt has one of its own: a nacked one cannot be
// acknowledged any more, and its reader may have changed the metadata.
func (d *delivery) message(r *adapters.Record, ctx *messageContext) *message.Message {
	m := d.Message(r)
	m.SetContext(ctx)
	if ctx.again > 0 {
		if m.Metadata == nil {
			m.Metadata = message.Metadata{}
		}
		m.Metadata[HeaderAttempt] = decimal(ctx.again + 1)
	} else {
		delete(m.Metadata, HeaderAttempt)
	}
	return m
}
