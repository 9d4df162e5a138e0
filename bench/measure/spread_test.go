package measure

import (
	"slices"
	"testing"
)

func TestSpread(t *testing.T) {
	upTo := func(n int) (xs []float64) {
		for i := range n {
			xs = append(xs, float64((i*7)%n+1)) // 1 to n, shuffled: 7 divides none of the ns below
		}
		return xs
	}
	for name, c := range map[string]struct {
		rounds                      []float64
		median, least, most, lo, hi float64
	}{
		"one":      {[]float64{3}, 3, 3, 3, 3, 3},
		"odd":      {[]float64{5, 1, 2}, 2, 1, 5, 1, 5},
		"even":     {[]float64{4, 1, 3, 2}, 2.5, 1, 4, 1, 4},
		"five":     {upTo(5), 3, 1, 5, 1, 5},
		"ten":      {upTo(10), 5.5, 1, 10, 2, 9},
		"hundred":  {upTo(100), 50.5, 1, 100, 40, 61}, // ranks as in any table of the binomial distribution
		"all same": {[]float64{2, 2, 2, 2, 2, 2}, 2, 2, 2, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(c.rounds)
			s := spread(c.rounds)
			if s.Median != c.median || s.Min != c.least || s.Max != c.most || s.Low != c.lo || s.High != c.hi {
				t.Fatalf("got %+v, want %+v", s, c)
			}
			if !slices.Equal(c.rounds, before) || !slices.Equal(s.Rounds, before) {
				t.Fatalf("the rounds are no longer in their order: %v", s.Rounds)
			}
		})
	}
}

func TestSpreadOfNothing(t *testing.T) {
	if s := spread(nil); s.Median != 0 || s.Max != 0 || s.Rounds != nil {
		t.Fatalf("got %+v, want zero", s)
	}
}

// A machine that is slow for a round is slow for both: the ratio of that round stays.
func TestRatiosAreTakenInARound(t *testing.T) {
	ours, rival := []float64{300, 30, 310}, []float64{100, 10, 155}
	s := spread(ratios(ours, rival))
	if want := []float64{3, 3, 2}; !slices.Equal(s.Rounds, want) || s.Median != 3 {
		t.Fatalf("got %v, median %v; want %v, median 3", s.Rounds, s.Median, want)
	}
	if rs := ratios(ours, rival[:2]); len(rs) != 2 {
		t.Fatalf("%d ratios of 3 and 2 rounds", len(rs))
	}
}
