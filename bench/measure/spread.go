package measure

import (
	"math"
	"slices"
)

// A Spread is what the rounds came to.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Low and High bound the median with a confidence of 95 %. With fewer than six rounds no such
	// bounds exist, and these are Min and Max.
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
	Rounds []float64 `json:"rounds"` // in the order they were run
}

func spread(rounds []float64) Spread {
	if len(rounds) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(rounds))
	n := len(s)
	// The ranks of the bounds, by the normal approximation of the binomial distribution.
	half := 1.96 * math.Sqrt(float64(n)) / 2
	low := int(math.Round(float64(n)/2-half)) - 1
	high := int(math.Round(float64(n)/2 + half))
	return Spread{
		Median: (s[(n-1)/2] + s[n/2]) / 2, Min: s[0], Max: s[n-1],
		Low: s[max(low, 0)], High: s[min(high, n-1)], Rounds: rounds,
	}
}

// ratios divides round by round: what disturbs a round disturbs both.
func ratios(of, over []float64) []float64 {
	rs := make([]float64, min(len(of), len(over)))
	for i := range rs {
		rs[i] = of[i] / over[i]
	}
	return rs
}
