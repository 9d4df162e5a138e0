package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/leat-go/leat/adapters"
)

var (
	errGrouped = errors.New(`a member of a group does not see everything: use Group("")`)
	errNotKept = errors.New("the topic is not kept, and what others have read of it is gone: name it in Broker.Keep")
)

// Follow is documented at adapters.Follower. It is for a subscriber without a group, and for topics that
// Broker.Keep names: others have lost what their groups have read.
func (s *Subscriber) Follow(ctx context.Context, topics []string, own func(adapters.Claim), caughtUp func()) error {
	if err := s.broker.configure(); err != nil {
		return err
	}
	if s.group != "" {
		return fmt.Errorf("following topics %q in group %q: %w", topics, s.group, errGrouped)
	}
	var errs []error
	for _, topic := range topics {
		if !slices.Contains(s.broker.conf.keep, topic) {
			errs = append(errs, fmt.Errorf("following topic %q: %w", topic, errNotKept))
		}
	}
	if errs != nil {
		return errors.Join(errs...)
	}
	over := make(chan struct{})
	var watch sync.WaitGroup
	err := s.claim(ctx, topics, own, func(claims []*claim) {
		var goals []*goal
		for _, c := range claims {
			goals = append(goals, c.aim())
		}
		watch.Go(func() {
			for _, g := range goals {
				select {
				case <-g.reached:
				case <-over:
					return
				}
			}
			caughtUp()
		})
	})
	close(over)
	watch.Wait()
	return err
}

// A goal is what a group has to finish before it is caught up. The topic's lock guards it.
type goal struct {
	until   uint64 // number of the first record that is not part of it
	left    int
	reached chan struct{} // closed
}

// aim gives the group of a claim that has read nothing yet the goal of all that is on the topic.
func (c *claim) aim() *goal {
	t := c.group.topic
	t.mu.Lock()
	defer t.unlock()
	g := &goal{until: t.numbers, left: c.group.open, reached: make(chan struct{})}
	c.group.goal = g
	if g.left == 0 {
		close(g.reached)
	}
	return g
}

// finished notes that the group has finished a record. To close a channel waits for nobody.
func (g *goal) finished(r *record) {
	if g == nil || r.number >= g.until {
		return
	}
	if g.left--; g.left == 0 {
		close(g.reached)
	}
}
