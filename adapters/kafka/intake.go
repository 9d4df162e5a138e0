package kafka

import (
	"time"

	"github.com/IBM/sarama"
)

// holdUp is how long the intake leaves records in the client's channel before it pauses the partition: the
// client asks a broker for nothing more while one of its partitions waits, and a pause costs up to 100 ms
// until the partition is fetched again.
const holdUp = 20 * time.Millisecond

// runLength is how many records the intake takes at once.
const runLength = 256

// intake moves records from the client to the queue until the client's channel is closed: the partition is
// no longer this member's then.
func (c *claim) intake() {
	messages := c.src.Messages()
	run := make([]*sarama.ConsumerMessage, 0, runLength)
	for {
		m, ok := <-messages
		if !ok {
			return
		}
		run = append(run[:0], m)
	more:
		for len(run) < runLength {
			select {
			case m, ok = <-messages:
				if !ok {
					break more
				}
				run = append(run, m)
			default:
				break more
			}
		}
		c.owner.arrived(c)
		c.enqueue(run)
		clear(run)
		if !ok {
			return
		}
	}
}

// enqueue adds to the queue. If there is no room, it waits a little, then has the partition paused.
func (c *claim) enqueue(run []*sarama.ConsumerMessage) {
	if len(run) == 0 {
		return
	}
	size := 0
	for _, m := range run {
		size += sizeOf(m)
	}
	c.mu.Lock()
	if !c.paused && !c.held && c.full() {
		c.mu.Unlock()
		went := c.holdUp()
		c.mu.Lock()
		if !went && c.full() {
			c.src.pause()
			c.paused = true
		}
	}
	select {
	case <-c.stopping: // nobody takes them any more
		c.queue, c.head, c.waiting = nil, 0, 0
	default:
		for len(run) > 0 && run[0].Offset < c.position { // refused.go has read it
			size -= sizeOf(run[0])
			run = run[1:]
		}
		if len(run) == 0 {
			break
		}
		if c.head > 0 && len(c.queue)+len(run) > cap(c.queue) { // use the space in front again
			n := copy(c.queue, c.queue[c.head:])
			clear(c.queue[n:])
			c.queue, c.head = c.queue[:n], 0
		}
		c.queue = append(c.queue, run...)
		c.position = run[len(run)-1].Offset + 1
		c.waiting += size
	}
	c.mu.Unlock()
	nudge(c.wake)
}

// holdUp waits for room, and reports whether there was some in time.
func (c *claim) holdUp() bool {
	t := time.NewTimer(holdUp)
	defer t.Stop()
	for {
		select {
		case <-c.room:
			if !c.isFull() {
				return true
			}
		case <-c.stopping:
			return true
		case <-t.C:
			return false
		}
	}
}

// full reports whether enough waits in the queue.
func (c *claim) full() bool {
	return len(c.queue)-c.head >= max(c.conf.Window/2, 1) || c.waiting >= c.conf.WindowBytes/2
}

func (c *claim) isFull() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full()
}

// roomy has the intake go on once half of what may wait has gone out.
func (c *claim) roomy() {
	if len(c.queue)-c.head > c.conf.Window/4 || c.waiting > c.conf.WindowBytes/4 {
		return
	}
	nudge(c.room)
	if c.paused {
		c.paused = false
		if !c.held {
			c.src.resume()
		}
	}
}
