package measure

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func rated(name string, allocations float64, rates ...float64) *lane {
	l := &lane{Contestant: Contestant{Name: name}, rates: rates}
	for range rates {
		l.allocations = append(l.allocations, allocations)
	}
	return l
}

func TestVerdicts(t *testing.T) {
	none := &Contestant{}
	for name, c := range map[string]struct {
		must        Must
		allocations float64
		want        []string
	}{
		"reached":          {Must{Rival: 2, Ceiling: 0.5}, 0, []string{"≥ 0.5 × ceiling: holds", "≥ 2 × rival: holds"}},
		"one missed":       {Must{Rival: 2.5, Ceiling: 0.5}, 0, []string{"≥ 0.5 × ceiling: holds", "≥ 2.5 × rival: **misses**"}},
		"by a hair":        {Must{Rival: 2.001}, 0, []string{"≥ 2 × rival: **misses**"}},
		"allocations":      {Must{Allocations: 7}, 11.4, []string{"≤ 7 allocations beside the caller's (7.4): holds"}},
		"more allocations": {Must{Allocations: 7}, 11.6, []string{"≤ 7 allocations beside the caller's (7.6): **misses**"}},
		"nothing":          {Must{Why: "it is a test"}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			row := Row{Name: "row", Ceiling: none, Rival: none, Ours: []Ours{{Must: c.must}}}
			ls := []*lane{rated("c", 0, 400, 400, 400), rated("r", 0, 100, 100, 100), rated("o", c.allocations, 300, 200, 100)}
			j := row.result(ls, 4, nil, nil).Ours[0]
			var got []string
			for _, v := range j.Verdicts {
				got = append(got, v.String())
			}
			if strings.Join(got, ", ") != strings.Join(c.want, ", ") {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			if c.must.Why != j.Why || j.ToCeiling.Median != 0.5 || j.ToRival.Median != 2 {
				t.Fatalf("why %q, to ceiling %+v, to rival %+v", j.Why, j.ToCeiling, j.ToRival)
			}
		})
	}
}

func report(t *testing.T) *Report {
	t.Helper()
	none := &Contestant{}
	row := Row{Name: "hops", Ceiling: none, Rival: none, Ours: []Ours{{Must: Must{Rival: 4}}, {Must: Must{Rival: 2}}}}
	hand := Row{Name: "by a|b", Unit: "parts", Ceiling: none, Ours: []Ours{{Must: Must{Why: "nobody says how fast"}}}}
	gone := Row{Name: "kafka"}
	return &Report{
		Machine: Machine{Go: "go1.0", OS: "os", Arch: "arch", CPU: "Chip", CPUs: 8, Procs: 2, Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Count:   3, Time: "1s",
		Rows: []Result{
			row.result([]*lane{
				rated("bare", 46, 150000, 151000, 149000), rated("GoChannel", 130, 50000, 51000, 49000),
				rated("slow", 70, 150000, 150000, 150000), rated("quick", 21, 200000, 210000, 190000),
			}, 5, nil, nil),
			hand.result([]*lane{rated("loop", 0, 54e6), rated("direct", 1, 3.2e6)}, 0, nil, nil),
			gone.result(nil, 0, Env("NO_SUCH_VARIABLE", "Kafka")(), nil),
			gone.result(nil, 0, nil, errStuck),
		},
	}
}

const table = `2026-01-02 03:04:05, go1.0 os/arch, GOMAXPROCS 2 of 8, CPU Chip; 3 rounds of 1s

| row | ceiling | rival | ours | ours:ceiling | ours:rival | must be reached | spread (min-max) |
|---|---:|---:|---:|---:|---:|---|---|
| hops: slow | 150,000 | 50,000 | 150,000 | 1 | 3 | ≥ 4 × rival: **misses** | 2.94-3.06 |
| hops: quick | 150,000 | 50,000 | 200,000 | 1.333 | 4 | ≥ 2 × rival: holds | 3.88-4.12 |
| by a\|b: direct | 54,000,000 | | 3,200,000 | 0.0593 | | nothing, see below | 0.0593-0.0593 |
| kafka | | | | | | not run: needs Kafka: set NO_SUCH_VARIABLE | |
| kafka | | | | | | **failed**: nothing more comes out: it took ten times its time and five minutes | |
`

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := report(t).Markdown(&b); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.HasPrefix(got, table) {
		t.Errorf("got\n%s\nwant\n%s", got, table)
	}
	for _, want := range []string{
		"- hops: messages a second; allocations a message, of which the caller's are 5: ceiling (bare) 46, rival (GoChannel) 130, ours (slow) 70, ours (quick) 21.\n",
		"- by a|b: parts a second; allocations a message: ceiling (loop) 0, ours (direct) 1.\n",
		"\nNothing must be reached here, since nobody says how fast:\nby a|b: direct.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// With many rounds the extremes say little: the bounds of the median stand beside them.
func TestSpreadOfManyRounds(t *testing.T) {
	ours, ceiling := rated("o", 0), rated("c", 0)
	for i := range 100 {
		ours.rates, ceiling.rates = append(ours.rates, float64(901+i)), append(ceiling.rates, 1000)
	}
	row := Row{Name: "row", Ceiling: &Contestant{}, Ours: []Ours{{Must: Must{Ceiling: 0.95}}}}
	res := row.result([]*lane{ceiling, ours}, 0, nil, nil)
	if got, want := res.Ours[0].spread(), "0.901-1; median within 0.94-0.961 at 95 %"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestJSONHasEveryRound(t *testing.T) {
	text, err := json.Marshal(report(t))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	quick := back.Rows[0].Ours[1]
	if quick.Name != "quick" || len(quick.Rate.Rounds) != 3 || quick.ToRival.Median != 4 || !quick.Verdicts[0].Holds || back.Rows[0].Ours[0].Verdicts[0].Holds {
		t.Fatalf("got %s", text)
	}
	if back.Rows[2].NotRun == "" || back.Rows[3].Failed == "" {
		t.Fatalf("rows without figures do not say why: %s", text)
	}
}

func TestFigures(t *testing.T) {
	for x, want := range map[float64]string{
		0: "0", 0.0041: "0.0041", 0.9871: "0.987", 1.9: "1.9", 2.345: "2.35", 12.34: "12.3", 100: "100", 120.4: "120",
	} {
		if got := figure(x); got != want {
			t.Errorf("figure(%v) = %s, want %s", x, got, want)
		}
	}
	for x, want := range map[float64]string{
		0: "0", 999: "999", 1234: "1,230", 144_900: "145,000", 999_600: "1,000,000", 54_321_000: "54,300,000",
	} {
		if got := grouped(x); got != want {
			t.Errorf("grouped(%v) = %s, want %s", x, got, want)
		}
	}
}

func TestMachine(t *testing.T) {
	if m := ThisMachine(); m.Go == "" || m.CPU == "" || m.Procs < 1 || m.Date.IsZero() {
		t.Fatalf("got %+v", m)
	}
	if got := cpuModel("testdata/no such file"); got != "of unknown model" {
		t.Fatalf("got %q", got)
	}
}
