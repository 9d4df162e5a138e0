package measure

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func mine(d *double, m Must) []Ours { return []Ours{{d.contestant("ours"), m}} }

func TestRunHasEverybodyRunInEachRound(t *testing.T) {
	var order []string
	ceiling, rival, ours := &double{order: &order}, &double{order: &order}, &double{order: &order}
	row := Row{
		Name: "row", Count: 10, Ceiling: new(ceiling.contestant("ceiling")), Rival: new(rival.contestant("rival")),
		Ours: mine(ours, Must{Rival: 1}),
	}
	const rounds = 20
	rep, err := Run(t.Context(), []Row{row}, Options{Rounds: rounds, Time: time.Millisecond})
	if err := errors.Join(err, rep.Err()); err != nil {
		t.Fatal(err)
	}
	orders := map[string]bool{}
	for round := range slices.Chunk(order, 3) {
		orders[strings.Join(round, " ")] = true
		if slices.Sort(round); !slices.Equal(round, []string{"ceiling", "ours", "rival"}) {
			t.Fatalf("in a round ran %v", round)
		}
	}
	if len(orders) < 2 {
		t.Fatalf("every round had the order %v", orders)
	}
	for name, d := range map[string]*double{"ceiling": ceiling, "rival": rival, "ours": ours} {
		if d.opened != rounds || d.closed != rounds || d.runs != rounds {
			t.Errorf("%s: opened %d, closed %d, ran %d; want %d of each", name, d.opened, d.closed, d.runs, rounds)
		}
	}
	res := rep.Rows[0]
	for name, n := range map[string]int{
		"ceiling": len(res.Ceiling.Rate.Rounds), "rival": len(res.Rival.Rate.Rounds), "ours": len(res.Ours[0].Rate.Rounds),
		"to ceiling": len(res.Ours[0].ToCeiling.Rounds), "to rival": len(res.Ours[0].ToRival.Rounds),
	} {
		if n != rounds {
			t.Errorf("%s has %d rounds in the report, want %d", name, n, rounds)
		}
	}
}

func TestSlicesSetUpOnce(t *testing.T) {
	ceiling, ours := &double{}, &double{}
	row := Row{
		Name: "row", Count: 1, Slice: 10 * time.Millisecond,
		Ceiling: new(ceiling.contestant("ceiling")), Ours: mine(ours, Must{Ceiling: 0.5}),
	}
	rep, err := Run(t.Context(), []Row{row}, Options{Rounds: 3, Time: 50 * time.Millisecond})
	if err := errors.Join(err, rep.Err()); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*double{"ceiling": ceiling, "ours": ours} {
		if d.opened != 1 || d.closed != 1 || d.runs != 15 {
			t.Errorf("%s: opened %d, closed %d, ran %d; want 1, 1, and 3 × 50 ms in slices of 10", name, d.opened, d.closed, d.runs)
		}
	}
}

// A contestant that takes a millisecond a message gets a thousand for a second, and its rate is right.
func TestMessagesFitTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done int64
		var messages []int
		slow := Contestant{Name: "slow", Open: func(context.Context) (Load, error) {
			return Load{Done: func() int64 { return done }, Run: func(_ context.Context, n int) error {
				time.Sleep(time.Duration(n) * time.Millisecond)
				messages = append(messages, n)
				done += int64(3 * n)
				return nil
			}}, nil
		}}
		row := Row{Name: "row", Units: 3, Ours: []Ours{{slow, Must{Why: "it is a test"}}}}
		rep, err := Run(t.Context(), []Row{row}, Options{Rounds: 2, Time: time.Second})
		if err := errors.Join(err, rep.Err()); err != nil {
			t.Fatal(err)
		}
		// Each round has a contestant of its own, and warms it up.
		if half := len(messages) / 2; half < 2 || !slices.Equal(messages[:half], messages[half:]) {
			t.Errorf("two rounds had the runs %v", messages)
		}
		if got := messages[len(messages)-1]; got != 1000 {
			t.Errorf("a measurement had %d messages, want 1000", got)
		}
		if got := rep.Rows[0].Ours[0].Rate.Median; got != 3000 {
			t.Errorf("rate %v, want 3000: three units a millisecond", got)
		}
	})
}

func TestWhatGoesWrongFailsItsRow(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		d    *double
		want string
	}{
		"lost":       {&double{units: 1}, "10 messages came out, want 20"},
		"open":       {&double{units: 2, openErr: boom}, "ours: boom"},
		"run":        {&double{units: 2, runErr: boom}, "ours: boom"},
		"made it up": {&double{units: 3}, "30 messages came out, want 20"},
	} {
		for _, slice := range []time.Duration{0, time.Millisecond} {
			t.Run(name+" "+slice.String(), func(t *testing.T) {
				*c.d = double{units: c.d.units, openErr: c.d.openErr, runErr: c.d.runErr}
				good := &double{}
				bad := Row{Name: "bad", Units: 2, Count: 10, Slice: slice, Ours: mine(c.d, Must{Why: "it is a test"})}
				fine := Row{Name: "fine", Count: 10, Ours: mine(good, Must{Why: "it is a test"})}
				rep, err := Run(t.Context(), []Row{bad, fine}, Options{Rounds: 1, Time: time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				if got := rep.Rows[0].Failed; !strings.Contains(got, c.want) {
					t.Errorf("failed: %q, want %q", got, c.want)
				}
				if err := rep.Err(); err == nil || !strings.Contains(err.Error(), `"bad"`) {
					t.Errorf("error %v does not name the row", err)
				}
				if good.runs != 1 || rep.Rows[1].Failed != "" {
					t.Errorf("the other row ran %d times, failed %q", good.runs, rep.Rows[1].Failed)
				}
				if c.d.closed != c.d.opened {
					t.Errorf("opened %d times, closed %d", c.d.opened, c.d.closed)
				}
			})
		}
	}
}

func TestNeeds(t *testing.T) {
	d := &double{}
	row := Row{Name: "kafka", Count: 1, Needs: Env("LEAT_BENCH_TEST", "a broker"), Ours: mine(d, Must{Why: "it is a test"})}
	run := func() Result {
		t.Helper()
		rep, err := Run(t.Context(), []Row{row}, Options{Rounds: 1, Time: time.Millisecond})
		if err := errors.Join(err, rep.Err()); err != nil {
			t.Fatal(err)
		}
		return rep.Rows[0]
	}
	t.Setenv("LEAT_BENCH_TEST", "")
	if got := run().NotRun; got != "needs a broker: set LEAT_BENCH_TEST" || d.opened != 0 {
		t.Fatalf("not run: %q; opened %d times", got, d.opened)
	}
	t.Setenv("LEAT_BENCH_TEST", "127.0.0.1:9092")
	if got := run(); got.NotRun != "" || d.runs != 1 {
		t.Fatalf("not run: %q; ran %d times", got.NotRun, d.runs)
	}
}

func TestRowsThatAreWrong(t *testing.T) {
	d := &double{}
	one := new(d.contestant("one"))
	for name, c := range map[string]struct {
		row  Row
		want string
	}{
		"nobody of ours":     {Row{Name: "row"}, "nobody of ours"},
		"no must":            {Row{Name: "row", Ours: mine(d, Must{})}, "give it a Must"},
		"must and why":       {Row{Name: "row", Rival: one, Ours: mine(d, Must{Rival: 2, Why: "?"})}, "give it a Must"},
		"must, no rival":     {Row{Name: "row", Ceiling: one, Ours: mine(d, Must{Rival: 2})}, "does not run"},
		"must, no ceiling":   {Row{Name: "row", Rival: one, Ours: mine(d, Must{Ceiling: 2})}, "does not run"},
		"rounds below zero":  {Row{Name: "row", Ours: mine(d, Must{Why: "?"})}, "more than 0"},
		"what is right runs": {Row{Name: "row", Count: 1, Ours: mine(d, Must{Why: "?"})}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Rounds: 1, Time: time.Millisecond}
			if strings.Contains(name, "below") {
				o.Rounds = -1
			}
			_, err := Run(t.Context(), []Row{c.row}, o)
			if c.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestStuckContestantIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := Contestant{Name: "stuck", Open: func(context.Context) (Load, error) {
			return Load{Done: func() int64 { return 0 }, Run: func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}}, nil
		}}
		row := Row{Name: "row", Count: 1, Ours: []Ours{{stuck, Must{Why: "it is a test"}}}}
		var log bytes.Buffer
		rep, err := Run(t.Context(), []Row{row}, Options{Log: &log})
		if err != nil {
			t.Fatal(err)
		}
		if got := rep.Rows[0].Failed; !strings.Contains(got, "stuck: nothing more comes out") {
			t.Fatalf("failed: %q", got)
		}
		if !strings.Contains(log.String(), "row ...") {
			t.Fatalf("log: %q", log.String())
		}
	})
}
