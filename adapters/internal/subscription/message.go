package subscription

import (
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
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
