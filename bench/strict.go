package main

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

var errClosed = errors.New("channel is closed")

// strict is the least that carries Watermill messages in strict order: a Go channel for each topic, and a
// goroutine for each subscriber that hands out the next message when the one before is acknowledged. It is
// the ceiling of what an ordered channel can do behind a router. It has no groups and no limits, and its
// one promise is that a message that is not acknowledged comes again.
type strict struct {
	buffer int

	mu      sync.Mutex
	topics  map[string]chan *message.Message
	closing chan struct{}
	close   func()
	readers sync.WaitGroup
}

func newStrict(buffer int) *strict {
	s := &strict{buffer: buffer, topics: map[string]chan *message.Message{}, closing: make(chan struct{})}
	s.close = sync.OnceFunc(func() { close(s.closing) })
	return s
}

func (s *strict) topic(name string) chan *message.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[name]
	if t == nil {
		t = make(chan *message.Message, s.buffer)
		s.topics[name] = t
	}
	return t
}

// Publish waits while the topic is full. The reader of a topic needs an acknowledgement of its own, so what
// goes on it is a copy.
func (s *strict) Publish(topic string, ms ...*message.Message) error {
	t := s.topic(topic)
	for _, m := range ms {
		select {
		case t <- m.Copy():
		case <-s.closing:
			return errClosed
		}
	}
	return nil
}

// Subscribe reads a topic, of which there may be one reader.
func (s *strict) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	t, out := s.topic(topic), make(chan *message.Message)
	s.readers.Go(func() {
		defer close(out)
		for {
			select {
			case m := <-t:
				if !s.hand(ctx, m, out) {
					return
				}
			case <-ctx.Done():
				return
			case <-s.closing:
				return
			}
		}
	})
	return out, nil
}

// hand hands a message out until it is acknowledged; false means that the reader is over.
func (s *strict) hand(ctx context.Context, m *message.Message, out chan<- *message.Message) bool {
	for {
		m.SetContext(ctx)
		select {
		case out <- m:
		case <-ctx.Done():
			return false
		case <-s.closing:
			return false
		}
		select {
		case <-m.Acked():
			return true
		case <-m.Nacked():
			m = m.Copy()
		case <-ctx.Done():
			return false
		case <-s.closing:
			return false
		}
	}
}

// Close ends publishers and readers, and waits for the readers. The router closes it too.
func (s *strict) Close() error {
	s.close()
	s.readers.Wait()
	return nil
}
