package measure

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What is made ready and checked is called around each Run, and is no part of what is measured.
func TestReadyAndCheckStandAroundTheMeasurement(t *testing.T) {
	var calls []string
	var done int64
	open := func(context.Context) (Load, error) {
		return Load{
			Ready: func(_ context.Context, n int) error {
				if n != 7 {
					t.Errorf("made ready for %d messages, want 7", n)
				}
				done += 100 // no part of the run
				calls = append(calls, "ready")
				return nil
			},
			Run: func(_ context.Context, n int) error {
				done += int64(n)
				calls = append(calls, "run")
				return nil
			},
			Done:  func() int64 { return done },
			Check: func(context.Context) error { calls = append(calls, "check"); return nil },
		}, nil
	}
	row := Row{Name: "row", Count: 7, Ours: []Ours{{Contestant{Name: "ours", Open: open}, Must{Why: "it is a test"}}}}
	rep, err := Run(t.Context(), []Row{row}, Options{Rounds: 2, Time: time.Millisecond})
	if err := errors.Join(err, rep.Err()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"ready", "run", "check", "ready", "run", "check"}; !slices.Equal(calls, want) {
		t.Fatalf("called %v, want %v", calls, want)
	}
}

func TestWhatGoesWrongAroundARunFailsTheRow(t *testing.T) {
	wrong := errors.New("it is wrong")
	for name, l := range map[string]Load{
		"ready": {Ready: func(context.Context, int) error { return wrong }},
		"check": {Check: func(context.Context) error { return wrong }},
	} {
		t.Run(name, func(t *testing.T) {
			d := &double{}
			c := d.contestant("ours")
			if _, err := (&Row{}).take(t.Context(), with(t, c, l), 1, profile{}); !errors.Is(err, wrong) {
				t.Fatalf("got %v, want %v", err, wrong)
			}
		})
	}
}

func with(t *testing.T, c Contestant, l Load) Load {
	t.Helper()
	all, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all.Ready, all.Check = l.Ready, l.Check
	return all
}

// A contestant's own number of messages goes before the row's.
func TestCountOfAContestant(t *testing.T) {
	slow, ours := &double{}, &double{}
	rival := slow.contestant("rival")
	rival.Count = 3
	row := Row{Name: "row", Count: 10, Rival: &rival, Ours: mine(ours, Must{Rival: 1})}
	rep, err := Run(t.Context(), []Row{row}, Options{Rounds: 1, Time: time.Millisecond})
	if err := errors.Join(err, rep.Err()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slow.messages, []int{3}) || !slices.Equal(ours.messages, []int{10}) {
		t.Fatalf("the rival had %v messages, ours %v; want 3 and 10", slow.messages, ours.messages)
	}
}

func TestProfiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "profiles")
	row := Row{Name: "Kafka: a, b", Count: 1, Ours: mine(&double{}, Must{Why: "it is a test"})}
	rep, err := Run(t.Context(), []Row{row}, Options{Rounds: 2, Time: time.Millisecond, Profile: dir})
	if err := errors.Join(err, rep.Err()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kafka-a-b-ours-1.pprof", "kafka-a-b-ours-2.pprof"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, error %v; want a profile", name, info, err)
		}
	}
}
