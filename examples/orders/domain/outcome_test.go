package domain

import "testing"

func answers(statuses ...Status) (as []Answer) {
	for i, s := range statuses {
		as = append(as, Answer{Line{"W1", i + 1, "7", i + 1, len(statuses)}, s})
	}
	return as
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		name                   string
		answers                []Answer
		confirmed, backOrdered bool
		text                   string
	}{
		{"all booked", answers(Booked, Booked), true, false, "booked 1 x W1, 2 x W1"},
		{"one short", answers(Booked, Short), false, true, "booked 1 x W1; short 2 x W1"},
		{"all short", answers(Short), false, true, "short 1 x W1"},
		{"one not sold", answers(NotSold, Booked), true, false, "booked 2 x W1; not sold 1 x W1"},
		{"one short, one not sold", answers(NotSold, Short), false, true, "short 2 x W1; not sold 1 x W1"},
		{"nothing sold", answers(NotSold, NotSold), false, false, "not sold 1 x W1, 2 x W1"},
	} {
		last := len(c.answers) - 1
		c.answers[0], c.answers[last] = c.answers[last], c.answers[0] // they come in any order
		o, err := Combine("7", c.answers)
		if err != nil || Confirmed(o) != c.confirmed || BackOrdered(o) != c.backOrdered || o.String() != c.text {
			t.Errorf("%s: error %v, confirmed %v, back-ordered %v, %s", c.name, err, Confirmed(o), BackOrdered(o), o)
		}
	}
}

func TestCombineRefusesHalfAnOrder(t *testing.T) {
	for _, as := range [][]Answer{nil, answers(Booked, Booked)[:1]} {
		if o, err := Combine("7", as); err == nil {
			t.Errorf("%d answers: %+v", len(as), o)
		}
	}
}

func TestRefuse(t *testing.T) {
	l := Line{"X9", 1, "7", 1, 1}
	if a, err := Refuse(l); err != nil || a != (Answer{l, NotSold}) {
		t.Errorf("%+v, error %v", a, err)
	}
}
