package memory

import (
	"fmt"
	"sync"
	"time"

	"github.com/leat-go/leat/channel"
)

// A consumer is what a subscription and a claim have in common: a member that stops, drains, and is
// gone at the latest DrainTimeout later.
type consumer struct {
	*member
	end   *Subscriber
	topic string

	stopping chan struct{} // closed: take no more
	forced   chan struct{} // closed DrainTimeout later: let go
	ended    chan struct{} // closed: nothing is out with it any more
	why      error         // it stops; set before stopping is closed

	once  sync.Once
	bye   sync.Once
	timer *time.Timer
	force func() // runs when forced is closed, may be nil
}

func newConsumer(end *Subscriber, topic string) *consumer {
	return &consumer{
		member: &member{wake: make(chan struct{}, 1)},
		end:    end, topic: topic,
		stopping: make(chan struct{}), forced: make(chan struct{}), ended: make(chan struct{}),
	}
}

// join makes the consumer a member of its group, new if need be. On an error it is none.
func (c *consumer) join(deep bool, limit int) error {
	b := c.end.broker
	t := b.lock(c.topic)
	c.group, c.deep, c.limit = t.join(c.end.group), deep, limit
	t.unlock()
	err := b.admit(c)
	if err != nil {
		c.giveBack()
		c.depart()
	}
	return err
}

// stop has the consumer take no more, and starts the time it has for the rest.
func (c *consumer) stop(why error) {
	c.once.Do(func() {
		c.why = why
		c.timer = time.AfterFunc(c.end.broker.conf.drain, func() {
			close(c.forced)
			if c.force != nil {
				c.force()
			}
		})
		close(c.stopping)
	})
}

func (c *consumer) stopped() bool {
	select {
	case <-c.stopping:
		return true
	default:
		return false
	}
}

// sate has the consumer no longer wait for records: those it would be woken for are others' now.
func (c *consumer) sate() {
	t := c.group.topic
	t.mu.Lock()
	c.setHungry(false)
	c.leaveRest()
	t.unlock()
}

// giveBack gives back what is out and leaves the group. It may be called again.
func (c *consumer) giveBack() {
	t := c.group.topic
	t.mu.Lock()
	c.leave()
	t.unlock()
}

// depart ends the consumer, which has given back what it had. It may be called again.
func (c *consumer) depart() {
	b := c.end.broker
	b.mu.Lock()
	delete(b.consumers, c)
	b.mu.Unlock()
	c.bye.Do(func() { close(c.ended) })
}

// errLost is the cause of contexts that end because the drain took too long.
func (c *consumer) errLost() error {
	return fmt.Errorf("topic %q: not acknowledged %v after reading ended, it is delivered again: %w",
		c.topic, c.end.broker.conf.drain, channel.ErrStopped)
}
