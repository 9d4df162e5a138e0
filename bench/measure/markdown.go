package measure

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Markdown writes the report as one table, and below it who ran and what did not.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d rounds of %s\n\n", r.Machine, r.Count, r.Time)
	b.WriteString("| row | ceiling | rival | ours | ours:ceiling | ours:rival | must be reached | spread (min-max) |\n")
	b.WriteString("|---|---:|---:|---:|---:|---:|---|---|\n")
	for i := range r.Rows {
		r.Rows[i].table(&b)
	}
	b.WriteString("\nA rate is the median of the rounds, a ratio the median of the rounds' ratios. The spread is that of the ratio to the\n" +
		"rival, or to the ceiling where no rival runs.\n\n")
	for i := range r.Rows {
		r.Rows[i].legend(&b)
	}
	r.asksNothing(&b)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

func (res *Result) table(b *strings.Builder) {
	if text := res.absent(); text != "" {
		fmt.Fprintf(b, "| %s | | | | | | %s | |\n", cell(res.Name), cell(text))
		return
	}
	for i := range res.Ours {
		j := &res.Ours[i]
		for _, text := range []string{
			cell(res.Name + ": " + j.Name), res.Ceiling.rate(), res.Rival.rate(), j.rate(), j.ToCeiling.ratio(), j.ToRival.ratio(),
			j.musts(), j.spread(),
		} {
			b.WriteString(strings.TrimRight("| "+text, " ") + " ")
		}
		b.WriteString("|\n")
	}
}

// absent says why a row has no figures.
func (res *Result) absent() string {
	switch {
	case res.NotRun != "":
		return "not run: " + res.NotRun
	case res.Failed != "":
		return "**failed**: " + res.Failed
	}
	return ""
}

// legend says who ran, and how many allocations a message cost them.
func (res *Result) legend(b *strings.Builder) {
	if res.absent() != "" {
		return
	}
	fmt.Fprintf(b, "- %s: %s a second; allocations a message", res.Name, res.Unit)
	if res.Callers != 0 {
		fmt.Fprintf(b, ", of which the caller's are %s", figure(res.Callers))
	}
	between := ": "
	say := func(who string, m *Measured) {
		if m != nil {
			fmt.Fprintf(b, "%s%s (%s) %s", between, who, m.Name, figure(m.Allocations.Median))
			between = ", "
		}
	}
	say("ceiling", res.Ceiling)
	say("rival", res.Rival)
	for i := range res.Ours {
		say("ours", &res.Ours[i].Measured)
	}
	b.WriteString(".\n")
}

// asksNothing says of whom nothing is asked, and why, each reason once.
func (r *Report) asksNothing(b *strings.Builder) {
	var reasons []string
	who := map[string][]string{}
	for i := range r.Rows {
		for j := range r.Rows[i].Ours {
			why := r.Rows[i].Ours[j].Why
			if why == "" {
				continue
			}
			if who[why] == nil {
				reasons = append(reasons, why)
			}
			who[why] = append(who[why], r.Rows[i].Name+": "+r.Rows[i].Ours[j].Name)
		}
	}
	for _, why := range reasons {
		fmt.Fprintf(b, "\nNothing must be reached here, since %s:\n%s.\n", why, strings.Join(who[why], "; "))
	}
}

func (m *Measured) rate() string {
	if m == nil {
		return ""
	}
	return grouped(m.Rate.Median)
}

func (s *Spread) ratio() string {
	if s == nil {
		return ""
	}
	return figure(s.Median)
}

func (j *Judged) musts() string {
	if len(j.Verdicts) == 0 {
		return "nothing, see below"
	}
	texts := make([]string, len(j.Verdicts))
	for i, v := range j.Verdicts {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}

// String says what was to be reached and whether it is; a miss stands out.
func (v Verdict) String() string {
	text := fmt.Sprintf("≥ %s × %s", figure(v.AtLeast), v.Of)
	if v.AtMost != 0 {
		text = fmt.Sprintf("≤ %s %s beside the caller's (%s)", figure(v.AtMost), v.Of, figure(v.Measured))
	}
	if v.Holds {
		return text + ": holds"
	}
	return text + ": **misses**"
}

func (j *Judged) spread() string {
	s := j.ToRival
	if s == nil {
		s = j.ToCeiling
	}
	if s == nil {
		return grouped(j.Rate.Min) + "-" + grouped(j.Rate.Max)
	}
	text := figure(s.Min) + "-" + figure(s.Max)
	if s.Low > s.Min || s.High < s.Max {
		text += fmt.Sprintf("; median within %s-%s at 95 %%", figure(s.Low), figure(s.High))
	}
	return text
}

// cell keeps text within its cell.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", "; ").Replace(text)
}

// figure writes a number with about three digits, without zeros at its end.
func figure(x float64) string {
	digits := 3
	switch size := math.Abs(x); {
	case size >= 100:
		digits = 0
	case size >= 10:
		digits = 1
	case size >= 2:
		digits = 2
	case size < 0.1:
		digits = 4
	}
	text := strconv.FormatFloat(x, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// grouped writes a rate with three digits that count, in groups of thousands: 145,000.
func grouped(x float64) string {
	n := int64(math.Round(x))
	if x >= 1000 {
		unit := math.Pow(10, math.Floor(math.Log10(x))-2)
		n = int64(math.Round(x/unit) * unit)
	}
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
