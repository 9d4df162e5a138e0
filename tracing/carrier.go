package tracing

import (
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/channel"
)

// A getter is what propagators read from. They must not write to it.
type getter struct {
	from interface{ Get(name string) string }
}

func (g getter) Get(name string) string { return g.from.Get(name) }
func (getter) Set(string, string)       {}
func (getter) Keys() []string           { return nil }

// An envelope is the getter of a message that arrived, without an allocation.
type envelope channel.Envelope

func (e *envelope) Get(name string) string { return (*channel.Envelope)(e).Get(name) }
func (*envelope) Set(string, string)       {}
func (*envelope) Keys() []string           { return nil }

// A setter collects what propagators write.
type setter struct{ fields channel.Fields }

func (s *setter) Get(name string) string { return s.fields.Get(name) }

func (s *setter) Set(name, value string) {
	for i := range s.fields {
		if s.fields[i].Name == name {
			s.fields[i].Value = value
			return
		}
	}
	s.fields = append(s.fields, channel.Field{Name: name, Value: value})
}

func (s *setter) Keys() (names []string) {
	for _, f := range s.fields {
		names = append(names, f.Name)
	}
	return names
}

// metadata is a Watermill message's.
type metadata message.Metadata

func (m metadata) Get(name string) string { return m[name] }
func (m metadata) Set(name, value string) { m[name] = value }

func (m metadata) Keys() (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// own is what a delivery has set itself.
type own struct{ e *channel.Envelope }

func (o own) Get(name string) string { return o.e.Own(name) }
func (own) Set(string, string)       {}
func (own) Keys() []string           { return nil }
