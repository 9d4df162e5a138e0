package flow

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A channelClaim makes the channel of any Watermill subscriber a claim.
type channelClaim struct {
	ctx    context.Context //nolint:containedctx // It is the claim's.
	stop   context.CancelFunc
	intake context.Context //nolint:containedctx // Its end ends Next.
	topic  string
	ch     <-chan *message.Message
}

// channelClaim subscribes with a context that outlives the intake: cancelling it would take the
// messages in flight away.
func (h *Handle) channelClaim(sub message.Subscriber, topic string) (*channelClaim, error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(h.ctx))
	ch, err := sub.Subscribe(ctx, topic)
	if err != nil {
		stop()
		return nil, err //nolint:wrapcheck // The caller names the topic.
	}
	return &channelClaim{ctx: ctx, stop: stop, intake: h.intake, topic: topic, ch: ch}, nil
}

// end unsubscribes, and gives back what the subscriber still hands out.
func (c *channelClaim) end() {
	c.stop()
	for m := range c.ch {
		m.Nack()
	}
}

func (c *channelClaim) Context() context.Context { return c.ctx }
func (c *channelClaim) Topic() string            { return c.topic }
func (c *channelClaim) Order() adapters.Order    { return adapters.KeyOrdered }

func (c *channelClaim) Next(run []*adapters.Record) ([]*adapters.Record, error) {
	select {
	case <-c.intake.Done():
		return run, context.Cause(c.intake)
	case m, ok := <-c.ch:
		if !ok {
			return run, adapters.ErrClosed
		}
		run = append(run, record(m))
	}
	for len(run) < cap(run) {
		select {
		case m, ok := <-c.ch:
			if !ok {
				return run, adapters.ErrClosed
			}
			run = append(run, record(m))
			continue
		default:
		}
		break
	}
	return run, nil
}

func (c *channelClaim) Finish(rs []*adapters.Record) {
	for _, r := range rs {
		if m, ok := r.Native.(*message.Message); ok {
			m.Ack()
		}
	}
}

func (c *channelClaim) Return(rs []*adapters.Record) {
	for _, r := range rs {
		if m, ok := r.Native.(*message.Message); ok {
			giveBack(m)
			m.Nack()
		}
	}
}

// record gives a Watermill message as a record.
func record(m *message.Message) *adapters.Record {
	return &adapters.Record{
		Context: m.Context(), ID: m.UUID, Key: m.Metadata[channel.HeaderKey], Payload: m.Payload,
		Headers: channel.Metadata(m.Metadata), Native: m, Doubtful: redelivered(m),
	}
}

// redelivered reports what a message's context says of it.
func redelivered(m *message.Message) bool {
	is, _ := m.Context().Value(adapters.RedeliveredKey{}).(bool)
	return is
}
