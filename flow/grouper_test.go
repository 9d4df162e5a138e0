package flow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/flow"
)

// A landlord is a subscriber that counts those it was asked for and has not got back.
type landlord struct {
	*memory.Subscriber
	let, closed *int
	fails       error
}

func (l landlord) Group(name string) message.Subscriber {
	*l.let++
	l.Subscriber = l.Subscriber.Group(name).(*memory.Subscriber)
	return tenant{l}
}

func (l landlord) Close() error {
	*l.closed++
	return l.Subscriber.Close()
}

type tenant struct{ landlord }

func (t tenant) SubscribeInitialize(topic string) error {
	return errors.Join(t.fails, t.Subscriber.SubscribeInitialize(topic))
}

func (t tenant) Close() error {
	*t.let--
	return t.Subscriber.Close()
}

// What a flow has asked a Grouper for it closes, and nothing else, whether it has run or could not start. Breaks if each run
// leaves some behind, whose metrics go on.
func TestAFlowClosesTheGroupsItAskedFor(t *testing.T) {
	every := channel.In("rules", sorted, takes)
	every.Broadcast = true
	rules := block[parcel]{takes, channel.Shape{Inlets: []channel.Inlet{every}}}
	for name, x := range map[string]struct {
		fails error
		run   func(f *flow.Flow, pub message.Publisher, sub message.Subscriber) error
	}{
		"run": {run: func(f *flow.Flow, pub message.Publisher, sub message.Subscriber) error {
			h, err := f.Start(context.Background(), pub, sub)
			if err != nil {
				return err
			}
			synctest.Wait()
			h.Stop()
			return h.Err()
		}},
		"cannot start": {fails: errWire, run: func(f *flow.Flow, pub message.Publisher, sub message.Subscriber) error {
			_, err := f.Start(context.Background(), pub, sub)
			return err
		}},
		"cannot be added": {fails: errWire, run: func(f *flow.Flow, pub message.Publisher, sub message.Subscriber) error {
			_, err := f.AddTo(message.NewDefaultRouter(watermill.NopLogger{}), pub, sub)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &memory.Broker{Keep: []string{"sorted"}}
				defer b.Close()
				let, closed := 0, 0
				sub := landlord{b.Subscriber("f"), &let, &closed, x.fails}
				f := mustNew(t, "f", quick(), flow.Step("a", arrivals, rules), flow.Step("b", arrivals, done[parcel](), flow.Group("other")))
				if err := x.run(f, b.Publisher(), sub); !errors.Is(err, x.fails) {
					t.Error(err)
				}
				if let != 0 || closed != 0 {
					t.Errorf("%d are left of those that were asked for, and what was given was closed %d times", let, closed)
				}
			})
		})
	}
}

var _ adapters.Grouper = landlord{}
