package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters/memory"
	"github.com/leat-go/leat/aggregator"
	"github.com/leat-go/leat/channel"
	"github.com/leat-go/leat/examples/orders/domain"
	"github.com/leat-go/leat/flow"
)

// A shop is the flow on a broker in memory, with the ledger beside it and a desk for the dead letters.
type shop struct {
	*ledger
	widgets, gadgets *domain.Inventory
	broker           *memory.Broker
	flow             *flow.Flow
	handle           *flow.Handle

	leave  context.CancelFunc // the desk
	nobody chan struct{}      // closed when nobody is at the desk any more
}

// openShop declares the flow.
func openShop(l *ledger, more ...flow.Part) (*shop, error) {
	s := &shop{ledger: l, widgets: domain.Widgets(), gadgets: domain.Gadgets(), broker: &memory.Broker{}}
	var err error
	s.flow, err = declare(s.widgets, s.gadgets, &aggregator.Memory{}, l, more...)
	return s, err
}

// start starts the flow, and has somebody at the desk read the dead letters: an ordinary subscriber, outside of
// the flow. The letters are kept in the ledger, which ends with the process as this broker does; on one that
// keeps what it has, acknowledge a letter when it has been put back.
func (s *shop) start(ctx context.Context) error {
	reading, leave := context.WithCancel(ctx)
	letters, err := s.broker.Subscriber("desk").Subscribe(reading, string(dead))
	if err != nil {
		leave()
		return fmt.Errorf("reading the dead letters: %w", err)
	}
	s.leave, s.nobody = leave, make(chan struct{})
	go func() {
		defer close(s.nobody)
		for m := range letters {
			s.bury(m)
			m.Ack()
		}
	}()
	if s.handle, err = s.flow.Start(ctx, s.broker.Publisher(), s.broker.Subscriber(s.flow.Name())); err != nil {
		leave()
		<-s.nobody
		return errors.Join(err, s.broker.Close())
	}
	return nil
}

// maxLine is how long an order may be, in bytes.
const maxLine = 64 << 10

// take publishes an order on the topic of the new ones, as another system would: its id is the message's id
// and key. What has no id of its own is turned away at the door, for nothing could be said of it later.
func (s *shop) take(number int, line []byte) error {
	name := fmt.Sprintf("line %d", number)
	if len(line) > maxLine {
		s.turnAway(name, fmt.Errorf("it has %d bytes, and may have %d", len(line), maxLine))
		return nil
	}
	o, err := domain.Parse(line)
	if err != nil {
		s.turnAway(name, err)
		return nil
	}
	if !s.receive(o.ID) {
		s.turnAway(name, fmt.Errorf("there is an order %s already", o.ID))
		return nil
	}
	m := message.NewMessage(o.ID, line)
	m.Metadata[channel.HeaderKey] = o.ID
	if err := s.broker.Publisher().Publish(string(newOrders), m); err != nil {
		s.set(o.ID, isInvalid, "it could not be published") // nobody waits for it
		return fmt.Errorf("publishing order %s: %w", o.ID, err)
	}
	return nil
}

// settle waits until every order is done or dead. With repair, the shelves are counted then, and what died at
// an inventory is put back, each letter once.
func (s *shop) settle(ctx context.Context, repair bool) error {
	if err := s.rest(ctx); err != nil || !repair {
		return err
	}
	back := map[string]bool{}
	for again := true; again; {
		again = false
		for _, m := range s.letters() {
			step := m.Metadata[flow.DeadStep]
			if back[m.UUID] || step != widgetInventory && step != gadgetInventory {
				continue // its order stays dead
			}
			again, back[m.UUID] = true, true
			s.widgets.Recount()
			s.gadgets.Recount()
			if err := s.putBack(m); err != nil {
				return err
			}
			if err := s.rest(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBack publishes a letter as it was before it died, for the step that it had arrived at alone.
func (s *shop) putBack(letter *message.Message) error {
	topic, m, err := flow.PutBack(letter)
	if err != nil {
		return err
	}
	s.reopen(letter)
	if err := s.broker.Publisher().Publish(topic, m); err != nil {
		return fmt.Errorf("putting letter %s back: %w", letter.UUID, err)
	}
	return nil
}

// close ends the flow in good order.
func (s *shop) close(ctx context.Context) error {
	err := s.handle.Drain(ctx)
	s.leave()
	<-s.nobody
	return errors.Join(err, s.broker.Close(), s.err)
}

// accounting says where every order is, and whether that is all of them: by the ledger, and by the flow's
// own count of every message.
func (s *shop) accounting() (line string, balanced bool) {
	received, in, putBack := s.count()
	balanced = received == in[isConfirmed]+in[isBackOrdered]+in[isRefused]+in[isInvalid]+in[isDead]
	var retries int64
	for _, c := range s.handle.Counts() {
		retries += c.Retries
		balanced = balanced && c.Balanced() && c.InFlight == 0
	}
	line = fmt.Sprintf("accounting: received=%d confirmed=%d back_ordered=%d refused=%d invalid=%d dead=%d in_flight=%d retries=%d put_back=%d",
		received, in[isConfirmed], in[isBackOrdered], in[isRefused], in[isInvalid], in[isDead], in[inFlight], retries, putBack)
	if balanced {
		return line + " balanced", true
	}
	return line + " unbalanced", false
}
