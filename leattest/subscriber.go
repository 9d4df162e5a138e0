package leattest

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A subscriber reads for one instance and one group, "" for a group of its own each time.
type subscriber struct {
	instance *Instance
	group    string

	mu    sync.Mutex
	stops []context.CancelFunc
}

// Group gives a Subscriber that reads for another consumer group (see adapters.Grouper).
func (s *subscriber) Group(name string) message.Subscriber {
	return &subscriber{instance: s.instance, group: name}
}

// Subscribe reads a topic from its beginning, or where the group is, until ctx ends, Close is called or
// the instance dies. What is not acknowledged by then is given back. Of a dead instance it gives a
// subscription that has ended, and no error: a Watermill router that could not subscribe everywhere can
// be closed only after its CloseTimeout, and never in a bubble of testing/synctest.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, stop := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(s.instance.ctx, func() { stop(ErrKilled) })
	s.mu.Lock()
	s.stops = append(s.stops, func() { stop(nil) })
	s.mu.Unlock()
	w := s.instance.world
	g := w.join(topic, s.group)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		defer unhook()
		defer stop(nil)
		if s.group == "" {
			defer w.dissolve(g)
		}
		s.read(ctx, g, out)
	}()
	return out, nil
}

func (s *subscriber) read(ctx context.Context, g *group, out chan<- *message.Message) {
	w := s.instance.world
	for ctx.Err() == nil {
		l, wake := w.take(g, nil)
		if l == nil {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		m := l.m.Copy()
		m.SetContext(ctx)
		select {
		case out <- m:
			go s.await(ctx, g, l, m)
		case <-ctx.Done():
			w.finish(g, l, true)
		}
	}
}

// await ends a message that was handed out. An acknowledgement that a dead instance sent reaches nobody.
func (s *subscriber) await(ctx context.Context, g *group, l *letter, m *message.Message) {
	back := false
	select {
	case <-m.Acked():
	case <-m.Nacked():
		back = true
	case <-ctx.Done():
		select {
		case <-m.Acked():
		default:
			back = true
		}
	}
	s.instance.world.finish(g, l, back || s.instance.Dead())
}

// Close ends the subscriptions made here. An Instance lives on.
func (s *subscriber) Close() error {
	s.mu.Lock()
	stops := s.stops
	s.stops = nil
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	return nil
}
