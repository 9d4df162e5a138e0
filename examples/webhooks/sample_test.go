package main

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/leat-go/leat/examples/webhooks/domain"
)

// parsed is what is in an input, found without a flow.
type parsed struct {
	lines, good, duplicates, filtered, expired int
	events                                     []domain.Event
	types, groups                              map[string]int
	reasons                                    map[domain.Reason]int
}

func parseAll(t *testing.T, r io.Reader) parsed {
	t.Helper()
	p := parsed{types: map[string]int{}, groups: map[string]int{}, reasons: map[domain.Reason]int{}}
	seen := map[string]bool{}
	l := newLines(r)
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		p.lines++
		e, err := domain.Parse(line)
		if err != nil {
			p.reasons[domain.ReasonOf(err)]++
			continue
		}
		p.good++
		if seen[e.Delivery] {
			p.duplicates++
			continue
		}
		seen[e.Delivery] = true
		if !domain.Relevant(e) {
			p.filtered++
		}
		if !e.Expires.IsZero() {
			p.expired++
		}
		p.types[e.Event]++
		p.events = append(p.events, e)
	}
}

// TestSampleHoldsWhatItPromises: the built-in sample is a demonstration, and each thing it is to
// demonstrate is in it.
func TestSampleHoldsWhatItPromises(t *testing.T) {
	p := parseAll(t, sample())
	for _, e := range p.events {
		a, err := domain.Translate(e)
		if err != nil {
			t.Fatal(err)
		}
		p.groups[a.Group]++
	}
	repositories := 0
	for _, r := range []string{"millrace/gate", "millrace/wheel", "millrace/ledger", "riverworks/sluice", "wren/almanac"} {
		if p.groups[r] > 3 {
			repositories++
		}
	}
	for _, g := range []string{"org:millrace", "org:riverworks", "enterprise:upper-valley", "user:wren", "github"} {
		if p.groups[g] == 0 {
			t.Errorf("no event of %s in %v", g, p.groups)
		}
	}
	if len(p.events) < 80 || len(p.types) < 20 || repositories != 5 || p.duplicates < 3 || p.filtered != 1 || p.expired != 1 {
		t.Errorf("%d events, %d types, %d repositories, %d duplicates, %d filtered, %d expired",
			len(p.events), len(p.types), repositories, p.duplicates, p.filtered, p.expired)
	}
	for _, r := range []domain.Reason{domain.Empty, domain.NotJSON, domain.TooLarge, domain.UnknownEvent, domain.NoDelivery, domain.WrongShape} {
		if p.reasons[r] != 1 {
			t.Errorf("%d lines are %q, want 1", p.reasons[r], r)
		}
	}
}

// TestSampleIsOutOfOrder: an issue is closed in it before it is opened.
func TestSampleIsOutOfOrder(t *testing.T) {
	p := parseAll(t, sample())
	late := 0
	var before domain.Activity
	for _, e := range p.events {
		a, err := domain.Translate(e)
		if err != nil {
			t.Fatal(err)
		}
		if a.At.Before(before.At) && !a.At.IsZero() {
			late++
		}
		before = a
	}
	if late == 0 {
		t.Fatal("every event comes after the one before it")
	}
}

// TestEveryEventIsTranslated takes the events of the file that LEAT_WEBHOOKS names, of the sample if it
// names none: each becomes an activity of a group, and each is in one digest, once.
func TestEveryEventIsTranslated(t *testing.T) {
	r := sample()
	path := os.Getenv("LEAT_WEBHOOKS")
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	p := parseAll(t, r)
	if path != "" && p.good != p.lines {
		t.Errorf("%d of %d lines are invalid: %v", p.lines-p.good, p.lines, p.reasons)
	}
	groups := map[string][]domain.Activity{}
	for _, e := range p.events {
		a, err := domain.Translate(e)
		if err != nil {
			t.Errorf("%s %s: %v", e.Event, e.Delivery, err)
			continue
		}
		if a.Group == "" || a.Title == "" || a.Family != e.Family() {
			t.Errorf("not whole: %+v", a)
		}
		for _, part := range domain.Split(a) {
			groups[a.Group] = append(groups[a.Group], domain.Enrich(part))
		}
	}
	events := 0
	for g, as := range groups {
		// Two digests of one group, so that pushes lie across both.
		for _, half := range [][]domain.Activity{as[:len(as)/2], as[len(as)/2:]} {
			d, err := domain.Combine(g, half)
			if err != nil {
				t.Fatal(err)
			}
			events += d.Events
		}
	}
	if events != len(p.events) || events == 0 {
		t.Fatalf("%d events are in digests, of %d", events, len(p.events))
	}
	t.Logf("%d lines, %d events of %d types in %d groups", p.lines, events, len(p.types), len(groups))
}
