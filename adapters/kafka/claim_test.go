package kafka

import (
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-go/leat/adapters"
	"github.com/leat-go/leat/channel"
)

// Where bytes bound the window, a claim gives out few records at once, and allocates no more than those. Breaks if it
// makes room for all that the run has.
func TestTakeAllocatesWhatItGives(t *testing.T) {
	const waiting = 256
	size := sizeOf(&sarama.ConsumerMessage{Value: make([]byte, 1000)})
	for fit, bytes := range map[int]int{1: 1, 3: 2*size + 1, waiting: waiting * size} {
		c := newClaim(t.Context(), &SubscriberConfig{Window: 2 * waiting, WindowBytes: bytes}, nil, nil, "topic", 0, 0)
		for i := range waiting {
			c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: int64(i), Value: make([]byte, 1000)})
		}
		ds, _ := c.take(waiting)
		if len(ds) != fit || cap(ds) != fit {
			t.Errorf("a window of %d bytes gives %d of %d records of %d, and makes room for %d; want %d", bytes, len(ds), waiting, size, cap(ds), fit)
		}
		if ds, _ := c.take(waiting); len(ds) != 0 {
			t.Errorf("a full window gives %d records more", len(ds))
		}
	}
}

// What is finished behind something that nobody has seen is delivered again, and who owns the partition next knows it.
// Breaks if only what is not finished counts as delivered: a repeat that is not told as one.
func TestFinishedBehindAGapIsDoubtful(t *testing.T) {
	c := newClaim(t.Context(), &SubscriberConfig{Window: 10, WindowBytes: 1 << 20, DrainTimeout: time.Minute}, nil, nil, "topic", 0, 0)
	c.stage = owned
	for i := range 5 {
		c.queue = append(c.queue, &sarama.ConsumerMessage{Offset: int64(i)})
	}
	run, err := c.Next(make([]*adapters.Record, 0, 5))
	if err != nil {
		t.Fatal(err)
	}
	c.finish(run[:1])
	c.finish(run[3:4])
	c.stop(channel.ErrStopped)
	c.Return(adapters.Unseen(append(run[1:3:3], run[4])))
	c.settleUp()
	if to := c.finished(); to.offset != 1 || to.behind != 3 {
		t.Errorf("it is finished up to offset %d, and %d behind that may have been delivered; want 1 and 3", to.offset, to.behind)
	}
}
