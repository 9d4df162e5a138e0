package kafka

import (
	"sync"
	"testing"

	"github.com/IBM/sarama"
)

// What a batch may expand to is the program's to say: the adapter sets the client's variable only if nobody has, once, before it
// first connects. Breaks if it overwrites what was set, or comes back to it later.
func TestLimitOfExpansion(t *testing.T) {
	// Tests of this package run one after another, and none before this one has left a reader behind.
	before := sarama.MaxDecompressedBatchSize
	t.Cleanup(func() { sarama.MaxDecompressedBatchSize, limitExpansion = before, sync.Once{} })
	_, p, topic := writing(t, 1, nil)
	connect := func(set, want int32) {
		t.Helper()
		sarama.MaxDecompressedBatchSize = set
		if err := p.Ensure(t.Context(), []string{topic}); err != nil {
			t.Fatal(err)
		}
		if got := sarama.MaxDecompressedBatchSize; got != want {
			t.Errorf("the limit was %d, and is %d; want %d", set, got, want)
		}
	}
	for _, x := range []struct{ set, want int32 }{{1 << 20, 1 << 20}, {1 << 30, 1 << 30}, {-1, -1}, {0, maxExpanded}} {
		limitExpansion = sync.Once{}
		connect(x.set, x.want)
	}
	connect(0, 0) // by a program that is connected
}
