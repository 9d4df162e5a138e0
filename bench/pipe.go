package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/bench/measure"
)

var (
	errEnded = errors.New("the pipe's end was closed")
	errOrder = errors.New("out of order")
)

// A pipe is a way from topic "in" to topic "out", whatever is in between. Its load publishes bodies on the
// one and acknowledges what comes out of the other, both at once.
type pipe struct {
	pub    message.Publisher
	sub    message.Subscriber
	bodies [][]byte                    // published in turn
	dress  func(*message.Message, int) // gives the i-th message its headers; nil: none
	strict bool                        // what comes out must be what went in, in that order
	window int                         // messages on their way at once; 0: as many as it takes
	close  func() error                // ends what is in between, and unblocks the publisher

	out        <-chan *message.Message
	unread     context.CancelFunc
	publishing sync.WaitGroup
	free       chan struct{}
	next, last int // the number of the message published, received
	done       atomic.Int64
}

// numbered makes bodies of size bytes that begin with their number.
func numbered(size int) [][]byte {
	bodies := make([][]byte, 1024)
	for i := range bodies {
		bodies[i] = make([]byte, size)
		binary.BigEndian.PutUint32(bodies[i], uint32(i))
	}
	return bodies
}

// load subscribes to the end of the pipe.
func (p *pipe) load(ctx context.Context) (measure.Load, error) {
	ctx, p.unread = context.WithCancel(ctx)
	if p.window > 0 {
		p.free = make(chan struct{}, p.window)
	}
	var err error
	if p.out, err = p.sub.Subscribe(ctx, "out"); err != nil {
		return measure.Load{Close: p.end}, fmt.Errorf("subscribing to the end of the pipe: %w", err)
	}
	return measure.Load{Run: p.run, Done: p.done.Load, Close: p.end}, nil
}

func (p *pipe) end() error {
	p.unread()
	err := p.close()
	p.publishing.Wait()
	return err
}

func (p *pipe) run(ctx context.Context, n int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.publishing.Wait()
	p.publishing.Go(func() {
		for range n {
			if p.free != nil {
				select {
				case p.free <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
			m := message.NewMessage(strconv.Itoa(p.next), p.bodies[p.next%len(p.bodies)])
			if p.dress != nil {
				p.dress(m, p.next)
			}
			p.next++
			if err := p.pub.Publish("in", m); err != nil {
				stop(fmt.Errorf("publishing: %w", err))
				return
			}
		}
	})
	for range n {
		if err := p.receive(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipe) receive(ctx context.Context) error {
	select {
	case m, open := <-p.out:
		if !open {
			return errEnded
		}
		m.Ack()
		if p.free != nil {
			<-p.free
		}
		p.done.Add(1)
		if p.strict {
			if got, want := int(binary.BigEndian.Uint32(m.Payload)), p.last%len(p.bodies); got != want {
				return fmt.Errorf("%w: message %d has number %d, want %d", errOrder, p.last, got, want)
			}
		}
		p.last++
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// running runs a router until the function it returns is called.
func running(ctx context.Context, r *message.Router) (end func() error, err error) {
	ctx = context.WithoutCancel(ctx) // it ends when it is closed, in good order
	over := make(chan error, 1)
	go func() { over <- r.Run(ctx) }()
	select {
	case <-r.Running():
		return func() error { return errors.Join(r.Close(), <-over) }, nil
	case err := <-over:
		return nil, fmt.Errorf("running the router: %w", err)
	}
}

// through is a Watermill router that passes messages on from topic to topic.
func through(ctx context.Context, pub message.Publisher, sub message.Subscriber, hops ...string) (end func() error, err error) {
	r := message.NewDefaultRouter(watermill.NopLogger{})
	for i := range hops[1:] {
		r.AddHandler(hops[i], hops[i], sub, hops[i+1], pub, message.PassthroughHandler)
	}
	return running(ctx, r)
}

// consumers is the same with handlers that publish themselves, which costs the router less.
func consumers(ctx context.Context, pub message.Publisher, sub message.Subscriber, hops ...string) (end func() error, err error) {
	r := message.NewDefaultRouter(watermill.NopLogger{})
	for i, to := range hops[1:] {
		r.AddConsumerHandler(hops[i], hops[i], sub, func(m *message.Message) error { return pub.Publish(to, m) })
	}
	return running(ctx, r)
}
