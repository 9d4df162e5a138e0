package kafka

import (
	"testing"

	"github.com/IBM/sarama"
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
