package measure

import (
	"errors"
	"fmt"
	"math"
)

// A Report is what a run came to.
type Report struct {
	Machine Machine  `json:"machine"`
	Count   int      `json:"rounds"`
	Time    string   `json:"time"` // of one measurement
	Rows    []Result `json:"rows"`
}

// A Result is what a row came to.
type Result struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"`
	NotRun  string    `json:"not_run,omitempty"` // what it needs
	Failed  string    `json:"failed,omitempty"`  // what went wrong
	Ceiling *Measured `json:"ceiling,omitempty"`
	Rival   *Measured `json:"rival,omitempty"`
	Ours    []Judged  `json:"ours"`
	// Callers is how many of the allocations a message are the caller's own.
	Callers float64 `json:"callers_allocations"`
}

// A Measured is a contestant with what it reached.
type Measured struct {
	Name        string `json:"name"`
	Rate        Spread `json:"rate"`        // units a second
	Allocations Spread `json:"allocations"` // a message, the caller's included
}

// A Judged is a contestant of ours beside the others.
type Judged struct {
	Measured

	ToCeiling *Spread   `json:"to_ceiling,omitempty"` // its rate divided by the ceiling's, round by round
	ToRival   *Spread   `json:"to_rival,omitempty"`
	Verdicts  []Verdict `json:"musts"`
	Why       string    `json:"no_must,omitempty"` // nothing is asked, and why
}

// A Verdict says whether a part of a Must is reached.
type Verdict struct {
	Of       string  `json:"of"` // ceiling, rival or allocations
	AtLeast  float64 `json:"at_least,omitempty"`
	AtMost   float64 `json:"at_most,omitempty"`
	Measured float64 `json:"measured"`
	Holds    bool    `json:"holds"`
}

// Err names the rows in which something went wrong. A must that is missed is no error: the table says it.
func (r *Report) Err() error {
	var errs []error
	for i := range r.Rows {
		if r.Rows[i].Failed != "" {
			errs = append(errs, fmt.Errorf("row %q: %s", r.Rows[i].Name, r.Rows[i].Failed))
		}
	}
	return errors.Join(errs...)
}

// result sums up what the lanes measured: ceiling and rival first, as far as the row has them, then ours.
func (r *Row) result(ls []*lane, callers float64, missing, failed error) Result {
	res := Result{Name: r.Name, Unit: r.unit(), Callers: callers}
	switch {
	case missing != nil:
		res.NotRun = missing.Error()
		return res
	case failed != nil:
		res.Failed = failed.Error()
		return res
	}
	var ceiling, rival *lane
	if r.Ceiling != nil {
		ceiling, ls = ls[0], ls[1:]
		res.Ceiling = new(ceiling.measured())
	}
	if r.Rival != nil {
		rival, ls = ls[0], ls[1:]
		res.Rival = new(rival.measured())
	}
	for i, l := range ls {
		j := Judged{Measured: l.measured(), Why: r.Ours[i].Must.Why}
		if ceiling != nil {
			j.ToCeiling = new(spread(ratios(l.rates, ceiling.rates)))
		}
		if rival != nil {
			j.ToRival = new(spread(ratios(l.rates, rival.rates)))
		}
		j.judge(r.Ours[i].Must, callers)
		res.Ours = append(res.Ours, j)
	}
	return res
}

func (l *lane) measured() Measured {
	return Measured{Name: l.Name, Rate: spread(l.rates), Allocations: spread(l.allocations)}
}

func (j *Judged) judge(m Must, callers float64) {
	atLeast := func(of string, must float64, got *Spread) {
		if must != 0 && got != nil {
			j.Verdicts = append(j.Verdicts, Verdict{Of: of, AtLeast: must, Measured: got.Median, Holds: got.Median >= must})
		}
	}
	atLeast("ceiling", m.Ceiling, j.ToCeiling)
	atLeast("rival", m.Rival, j.ToRival)
	if m.Allocations != 0 {
		got := j.Allocations.Median - callers
		holds := math.Round(got) <= m.Allocations
		j.Verdicts = append(j.Verdicts, Verdict{Of: "allocations", AtMost: m.Allocations, Measured: got, Holds: holds})
	}
}
