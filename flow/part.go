package flow

import (
	"log/slog"
	"reflect"

	"github.com/leat-go/leat/channel"
)

// A Part is what a flow, or one step of it, is made of. A Policy, Around, Group, Workers given to New
// stand for every step; given to a step they stand for that step.
type Part interface {
	// addTo adds the part to a step, or, if s is nil, to the flow.
	addTo(d *draft, s *step)
}

// draft is a flow while its parts are added.
type draft struct {
	flow   *Flow
	around []channel.Interceptor
	direct map[string]bool
	order  []string // direct topics as they were named
	policy Policy
	said   bool // policy was given
	group  string
	work   int
}

type partFunc func(d *draft, s *step)

func (p partFunc) addTo(d *draft, s *step) { p(d, s) }

// Step puts a block behind a topic. The name is schema: with the flow's it is the scope of ids and of
// everything the block remembers. Parts stand for this step alone.
func Step[T any](name string, in channel.Topic[T], block channel.Processor[T], parts ...Part) Part {
	return partFunc(func(d *draft, _ *step) {
		s := &step{name: name, in: string(in), typ: reflect.TypeFor[T]()}
		if block == nil {
			d.flow.wrong(s, "its block is nil")
		} else {
			s.shape = shapeOf(d, s, block)
			s.stage = channel.Erase(block)
		}
		s.add(d, parts)
	})
}

// Source puts in what speaks first: a gateway, a webhook, a schedule.
func Source(name string, src channel.Source, parts ...Part) Part {
	return partFunc(func(d *draft, _ *step) {
		s := &step{name: name, source: src}
		if src == nil {
			d.flow.wrong(s, "its source is nil")
		} else {
			s.shape = shapeOf(d, s, src)
		}
		s.add(d, parts)
	})
}

// BatchOf says when a batch is full.
type BatchOf struct {
	Size  int // messages
	Bytes int // of payload
}

// Batch puts a block behind a topic that works on many messages at once. No engine carries batches
// yet: New refuses the step by name.
func Batch[T any](name string, in channel.Topic[T], _ channel.Batcher[T], _ BatchOf, parts ...Part) Part {
	return partFunc(func(d *draft, _ *step) {
		s := &step{name: name, in: string(in), typ: reflect.TypeFor[T]()}
		s.add(d, parts)
		d.flow.wrong(s, "batches are %w yet: use flow.Step", channel.ErrNotCarried)
	})
}

// shapeOf asks for a shape. What has none to give, a nil pointer, is a mistake like others.
func shapeOf(d *draft, s *step, v interface{ Shape() channel.Shape }) (sh channel.Shape) {
	if err := guard(func() error { sh = v.Shape(); return nil }); err != nil {
		d.flow.wrong(s, "the Shape of its %T: %w: is it a nil pointer?", v, err)
	}
	return sh
}

func (s *step) add(d *draft, parts []Part) {
	for _, p := range parts {
		if p == nil {
			d.flow.wrong(s, "one of its parts is nil")
			continue
		}
		p.addTo(d, s)
	}
	d.flow.steps = append(d.flow.steps, s)
}

// Around puts interceptors around a step, or around every step; the first is the outermost, and the
// flow's stand outside of the step's. They see what arrives on the step's topic, not what comes by its
// block's other inlets.
func Around(is ...channel.Interceptor) Part {
	return partFunc(func(d *draft, s *step) {
		if s == nil {
			d.around = append(d.around, is...)
			return
		}
		s.around = append(s.around, is...)
	})
}

// Direct makes topics hops in the process instead of over the broker: everything a message causes that
// way is computed first, then what leaves is published at once. Bodies are handed over as they are and
// must not be changed once sent. Delete the line and they are broker hops again.
func Direct(topics ...channel.Address) Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "Direct stands for the whole flow: give it to New")
			return
		}
		for i, t := range topics {
			if t == nil {
				d.flow.errs = append(d.flow.errs, d.flow.errorf("Direct: topic %d is nil", i))
				continue
			}
			name, _ := t.Address()
			if !d.direct[name] {
				d.order = append(d.order, name)
			}
			d.direct[name] = true
		}
	})
}

// Group gives a step, or the whole flow, a consumer group of its own. Default: the flow's name. It
// needs a subscriber that has groups.
func Group(name string) Part {
	return partFunc(func(d *draft, s *step) {
		if s == nil {
			d.group = name
			return
		}
		s.group = name
	})
}

// Scope pins what a renamed flow or step remembers and derives ids from to its old name: for a flow
// its name, for a step the whole "flow/step".
func Scope(old string) Part {
	return partFunc(func(d *draft, s *step) {
		if s == nil {
			d.flow.scope = old
			return
		}
		s.scope = old
	})
}

// Prefix makes logical topics physical: "staging." before each. Names in drawings, ids and scopes stay
// logical.
func Prefix(prefix string) Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "Prefix stands for the whole flow: give it to New")
			return
		}
		d.flow.prefix = prefix
	})
}

// Codec sets how bodies are written and read: of the topics named, or, without any, of all. Default:
// channel.JSON. A message that says its content type is read by the codec of that type.
func Codec(c channel.Codec, topics ...channel.Address) Part {
	return partFunc(func(d *draft, s *step) {
		f := d.flow
		switch {
		case s != nil:
			f.wrong(s, "Codec stands for the whole flow: give it to New, with the topics it is for")
		case c == nil:
			f.errs = append(f.errs, f.errorf("Codec(nil): give a codec, or leave it out for JSON"))
		default:
			f.codecs.Types[c.ContentType()] = c
			if len(topics) == 0 {
				f.codecs.Default = c
			}
			for i, t := range topics {
				if t == nil {
					f.errs = append(f.errs, f.errorf("Codec: topic %d is nil", i))
					continue
				}
				name, _ := t.Address()
				f.codecs.Topics[name] = c
			}
		}
	})
}

// MaxHops bounds how many hops, direct or over a broker, a message and what it causes may have behind
// them; beyond it is channel.ErrLoop, and the dead letter. Default 64.
func MaxHops(n int) Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil || n < 1 {
			d.flow.errs = append(d.flow.errs, d.flow.errorf("MaxHops(%d): give New a number from 1", n))
			return
		}
		d.flow.maxHops = n
	})
}

// Limits bounds what is published: beyond it is channel.ErrTooLarge, before anything is sent. Default:
// the zero channel.Limits.
func Limits(l channel.Limits) Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "Limits stands for the whole flow: give it to New")
			return
		}
		if min(l.Body, l.Headers, l.Header, l.HeaderBytes) < 0 {
			d.flow.errs = append(d.flow.errs, d.flow.errorf("Limits(%+v): no field may be negative, 0 is a default", l))
			return
		}
		d.flow.limits = l
	})
}

// Workers sets how many messages of one topic (on a broker: of one partition) a flow works on at once;
// messages of one key always follow each other. Default: 1 where every block that the topic leads to
// is pure, else 64, since such blocks wait. Messages without a key keep their order while none of them
// fails, and so are worked on one at a time: give them keys (channel.HeaderKey), or the broker the order
// Unordered. One that waits for a retry is overtaken.
func Workers(n int) Part {
	return partFunc(func(d *draft, s *step) {
		switch {
		case n < 1:
			d.flow.errs = append(d.flow.errs, d.flow.errorf("Workers(%d): give a number from 1", n))
		case s == nil:
			d.work = n
		default:
			s.workers = n
		}
	})
}

// Logger sets where the flow logs state changes and failures; no line per message. Default:
// slog.Default().
func Logger(l *slog.Logger) Part {
	return partFunc(func(d *draft, s *step) {
		if s != nil {
			d.flow.wrong(s, "Logger stands for the whole flow: give it to New")
			return
		}
		d.flow.log = l
	})
}
