package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/bench/measure"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
	"github.com/leat-go/leat/router"
)

const (
	hopBytes = 256
	goBuffer = 1024 // messages that a Go channel holds, the rival's and the ceiling's
	// fewWindow is how many messages a publisher that waits has on their way. GoChannel is at its fastest
	// with some tens: it takes whatever it is given, at the price of two goroutines a message that waits.
	fewWindow = 64
)

// under says what a row's publisher does.
func under(window int) string {
	if window == 0 {
		return "a publisher that never waits"
	}
	return fmt.Sprintf("%d messages under way", window)
}

// hopsRow carries 256 bytes over two hops in memory. Ours route by a content router with one branch, and
// they and the ceiling keep strict order, which is checked; GoChannel does not.
func hopsRow(window int) measure.Row {
	return measure.Row{
		Name:    "in memory, two hops, strict order, " + under(window),
		Ceiling: &measure.Contestant{Name: "a Go channel a topic on a Watermill router", Open: strictHops(window)},
		Rival:   &measure.Contestant{Name: "GoChannel on a Watermill router, not ordered", Open: goChannelHops(window)},
		Ours: []measure.Ours{
			{Contestant: measure.Contestant{Name: "AddTo", Open: addToHops(window)}, Must: measure.Must{Rival: 1.8}},
			{Contestant: measure.Contestant{Name: "flow.Run", Open: runHops(window)}, Must: measure.Must{Rival: 3}},
		},
	}
}

type opener = func(context.Context) (measure.Load, error)

func strictHops(window int) opener {
	return func(ctx context.Context) (measure.Load, error) {
		s := newStrict(goBuffer)
		end, err := consumers(ctx, s, s, "in", "mid", "out")
		if err != nil {
			return measure.Load{Close: s.Close}, err
		}
		p := &pipe{
			pub: s, sub: s, bodies: numbered(hopBytes), window: window, strict: true,
			close: func() error { return errors.Join(end(), s.Close()) },
		}
		return p.load(ctx)
	}
}

func newGoChannel() *gochannel.GoChannel {
	return gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: goBuffer}, watermill.NopLogger{})
}

func goChannelHops(window int) opener {
	return func(ctx context.Context) (measure.Load, error) {
		g := newGoChannel()
		end, err := through(ctx, g, g, "in", "mid", "out")
		if err != nil {
			return measure.Load{Close: g.Close}, err
		}
		p := &pipe{
			pub: g, sub: g, bodies: numbered(hopBytes), window: window,
			close: func() error { return errors.Join(end(), g.Close()) },
		}
		return p.load(ctx)
	}
}

func twoHops() (*flow.Flow, error) {
	const in, mid, out channel.Topic[[]byte] = "in", "mid", "out"
	return flow.New("hops",
		flow.Step("a", in, router.Content(router.Otherwise(mid))),
		flow.Step("b", mid, router.Content(router.Otherwise(out))),
		flow.Policy{DeadLetter: "dead"})
}

func addToHops(window int) opener {
	return func(ctx context.Context) (measure.Load, error) {
		f, err := twoHops()
		if err != nil {
			return measure.Load{}, err
		}
		broker := &memory.Broker{Order: adapters.Ordered}
		r := message.NewDefaultRouter(watermill.NopLogger{})
		h, err := f.AddTo(r, broker.Publisher(), broker.Subscriber("hops"))
		if err != nil {
			return measure.Load{Close: broker.Close}, err
		}
		end, err := running(ctx, r)
		if err != nil {
			return measure.Load{Close: broker.Close}, err
		}
		p := &pipe{
			pub: broker.Publisher(), sub: broker.Subscriber("sink"), bodies: numbered(hopBytes), window: window, strict: true,
			close: func() error {
				h.Stop()
				return errors.Join(end(), broker.Close())
			},
		}
		return p.load(ctx)
	}
}

func runHops(window int) opener {
	return func(ctx context.Context) (measure.Load, error) {
		f, err := twoHops()
		if err != nil {
			return measure.Load{}, err
		}
		broker := &memory.Broker{Order: adapters.Ordered}
		h, err := f.Start(ctx, broker.Publisher(), broker.Subscriber("hops"))
		if err != nil {
			return measure.Load{Close: broker.Close}, err
		}
		p := &pipe{
			pub: broker.Publisher(), sub: broker.Subscriber("sink"), bodies: numbered(hopBytes), window: window, strict: true,
			close: func() error {
				h.Stop()
				return broker.Close()
			},
		}
		return p.load(ctx)
	}
}
