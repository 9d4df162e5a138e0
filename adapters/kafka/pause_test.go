package kafka

import (
	"math"
	"testing"
	"time"
)

// Those who fail together come back at times of their own: a pause is anything up to its limit, which doubles up to the most,
// and never nothing. Breaks if half of it is fixed.
func TestPausesAreRandom(t *testing.T) {
	const base, most = 16 * time.Millisecond, 100 * time.Millisecond
	for n, limit := range map[int]time.Duration{0: base, 1: base, 2: 2 * base, 3: 4 * base, 4: most, 5: most, 40: most, math.MaxInt: most} {
		low, high := most, time.Duration(0)
		for range 1000 {
			d := pause(base, most, n)
			low, high = min(low, d), max(high, d)
		}
		if low < limit/16 || high > limit || low > limit/4 || high < limit*3/4 {
			t.Errorf("try %d: pauses from %v to %v, want them spread from %v to %v", n, low, high, limit/16, limit)
		}
	}
}
