package flow

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// A background is what a router runs for a flow and gets no messages from: a clock, or what every instance reads. It begins with
// the router and ends with it, or with the flow.
type background struct {
	end   context.Context //nolint:containedctx // The flow's: what is run ends with it.
	begin chan context.Context
	over  chan struct{} // closed when it has ended, begun or not
	stop  context.CancelCauseFunc
}

// background makes one, which group waits for. It closes over, once; who has to wait for that made it.
func (h *Handle) background(end context.Context, group *sync.WaitGroup, over chan struct{}, run func(context.Context)) *background {
	b := &background{end: end, begin: make(chan context.Context, 1), over: over}
	group.Go(func() {
		defer close(over)
		select {
		case ctx := <-b.begin:
			run(ctx)
		case <-end.Done():
		}
	})
	return b
}

var errBegunTwice = errors.New("what a flow runs in a router was begun twice: add the flow anew, to another router")

// Subscribe begins. That the router closes is no failure: the cause says so.
func (b *background) Subscribe(router context.Context, _ string) (<-chan *message.Message, error) {
	ctx, stop := context.WithCancelCause(context.WithoutCancel(router))
	select {
	case b.begin <- ctx:
	default:
		stop(nil)
		return nil, errBegunTwice
	}
	b.stop = stop
	unhook := context.AfterFunc(router, func() { stop(adapters.ErrClosed) })
	halt := context.AfterFunc(b.end, func() { stop(channel.ErrStopped) })
	ch := make(chan *message.Message)
	go func() {
		defer close(ch)
		<-b.over
		unhook()
		halt()
		stop(nil)
	}()
	return ch, nil
}

// Close ends it.
func (b *background) Close() error {
	if b.stop != nil {
		b.stop(adapters.ErrClosed)
	}
	return nil
}
