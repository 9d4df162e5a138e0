package domain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Status is what became of a line.
type Status string

// The statuses.
const (
	Booked  Status = "booked"
	Short   Status = "short"    // not enough in stock; nothing was booked
	NotSold Status = "not sold" // neither a widget nor a gadget
)

// An Answer is a line with what became of it.
type Answer struct {
	Line
	Status Status `json:"status"`
}

// Refuse answers for an item that no inventory has.
func Refuse(l Line) (Answer, error) { return Answer{l, NotSold}, nil }

// An Outcome is what an order came to.
type Outcome struct {
	Order   string   `json:"order"`
	Answers []Answer `json:"answers"` // in the order of the lines
}

// Combine makes an outcome of the answers to all lines of an order.
func Combine(order string, answers []Answer) (Outcome, error) {
	if len(answers) == 0 || len(answers) != answers[0].Of {
		return Outcome{}, fmt.Errorf("order %s: there are %d answers and not one for each line", order, len(answers))
	}
	slices.SortFunc(answers, func(a, b Answer) int { return cmp.Compare(a.Number, b.Number) })
	return Outcome{order, answers}, nil
}

// has reports whether a line came to that.
func (o Outcome) has(s Status) bool {
	return slices.ContainsFunc(o.Answers, func(a Answer) bool { return a.Status == s })
}

// BackOrdered reports an order that waits for stock.
func BackOrdered(o Outcome) bool { return o.has(Short) }

// Confirmed reports an order of which everything we sell is booked.
func Confirmed(o Outcome) bool { return o.has(Booked) && !o.has(Short) }

// String lists the lines by what became of them: "booked 2 x W1, 1 x G1; not sold 1 x X9".
func (o Outcome) String() string {
	var parts []string
	for _, s := range []Status{Booked, Short, NotSold} {
		var lines []string
		for _, a := range o.Answers {
			if a.Status == s {
				lines = append(lines, a.String())
			}
		}
		if lines != nil {
			parts = append(parts, string(s)+" "+strings.Join(lines, ", "))
		}
	}
	return strings.Join(parts, "; ")
}
