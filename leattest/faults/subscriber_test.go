package faults_test

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/adapters/memory"
)

// A subscriber is a process's end to read by. Once the process is killed the broker hears nothing more
// from it, and delivers again what it had.
type subscriber struct {
	*memory.Subscriber

	p *process
}

var (
	_ message.Subscriber = subscriber{}
	_ adapters.Grouper   = subscriber{}
	_ adapters.Claims    = subscriber{}
)

// Group keeps the process.
func (s subscriber) Group(name string) message.Subscriber {
	end, ok := s.Subscriber.Group(name).(*memory.Subscriber)
	if !ok {
		panic("the memory broker's groups are its subscribers")
	}
	return subscriber{end, s.p}
}

// Claim ends when the process is killed.
func (s subscriber) Claim(ctx context.Context, topics []string, own func(adapters.Claim)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.p.ctx, cancel)()
	return s.Subscriber.Claim(ctx, topics, func(c adapters.Claim) {
		x := claim{Claim: c, p: s.p}
		var stop context.CancelFunc
		x.ctx, stop = context.WithCancel(c.Context())
		defer stop()
		defer context.AfterFunc(s.p.ctx, stop)()
		own(x)
	})
}

// A claim's faults are those of the call "finish": the process dies before the acknowledgement, or
// after it.
type claim struct {
	adapters.Claim

	p   *process
	ctx context.Context
}

func (c claim) Context() context.Context { return c.ctx }

func (c claim) Finish(rs []*adapters.Record) {
	for i := range rs {
		_ = do(c.p, "finish", rs[i].ID, func() error { // an error is the process's end
			c.Claim.Finish(rs[i : i+1])
			return nil
		})
	}
}

func (c claim) Return(rs []*adapters.Record) {
	if !c.p.gone() {
		c.Claim.Return(rs)
	}
}
