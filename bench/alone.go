package main

import (
	"context"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/bench/measure"
)

// aloneRow has one goroutine publish 256 bytes, and another receive and acknowledge them.
func aloneRow(window int) measure.Row {
	return measure.Row{
		Name: "in memory, the channel alone, publish to ack, " + under(window),
		Ceiling: &measure.Contestant{Name: "a Go channel", Open: func(ctx context.Context) (measure.Load, error) {
			s := newStrict(goBuffer)
			p := &pipe{pub: renamed{s}, sub: s, bodies: numbered(hopBytes), window: window, strict: true, close: s.Close}
			return p.load(ctx)
		}},
		Rival: &measure.Contestant{Name: "GoChannel, not ordered", Open: func(ctx context.Context) (measure.Load, error) {
			g := newGoChannel()
			p := &pipe{pub: renamed{g}, sub: g, bodies: numbered(hopBytes), window: window, close: g.Close}
			return p.load(ctx)
		}},
		Ours: []measure.Ours{{
			Contestant: measure.Contestant{Name: "memory.Broker, Ordered", Open: func(ctx context.Context) (measure.Load, error) {
				b := &memory.Broker{Order: adapters.Ordered}
				p := &pipe{pub: renamed{b.Publisher()}, sub: b.Subscriber("sink"), bodies: numbered(hopBytes), window: window, strict: true, close: b.Close}
				return p.load(ctx)
			}},
			Must: measure.Must{Rival: 4, Allocations: 7},
		}},
		Caller: makeMessages,
	}
}

// makeMessages makes messages as a pipe does, and does nothing with them.
func makeMessages(n int) {
	kept, body := make([]*message.Message, n), make([]byte, hopBytes)
	for i := range kept {
		// Numbers below 100 cost no allocation: a pipe has few of them.
		kept[i] = message.NewMessage(strconv.Itoa(100+i), body)
	}
}

// renamed publishes on "out" what a pipe publishes on "in": a pipe with nothing in between.
type renamed struct{ message.Publisher }

func (r renamed) Publish(_ string, ms ...*message.Message) error {
	return r.Publisher.Publish("out", ms...) //nolint:wrapcheck // It is the publisher's, under another name.
}
