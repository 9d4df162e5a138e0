package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/leat-go/leat/bench/measure"
)

func TestFlags(t *testing.T) {
	f, err := parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if f.options.Rounds != 5 || f.options.Time != time.Second || f.json || !f.rows.MatchString("anything") {
		t.Errorf("without flags: %+v", f)
	}
	f, err = parse([]string{"-rounds", "7", "-time", "20ms", "-json", "-rows", "HOPS|alone", "-seed", "3", "-cpuprofile", "dir"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if f.options.Rounds != 7 || f.options.Time != 20*time.Millisecond || f.options.Seed != 3 || f.options.Profile != "dir" || !f.json {
		t.Errorf("with flags: %+v", f)
	}
	if !f.rows.MatchString("two hops") || f.rows.MatchString("aggregate") {
		t.Errorf("-rows HOPS|alone is %v", f.rows)
	}
	for _, c := range []struct{ args, want string }{
		{"-rows (", "-rows"},
		{"-rounds 0", "more than 0"},
		{"-rounds -1", "more than 0"},
		{"-time 0s", "more than 0"},
		{"-time soon", "-time"},
		{"-kafka", "-kafka"},
		{"hops", "-rows"},
	} {
		if _, err := parse(strings.Fields(c.args), io.Discard); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.args, err, c.want)
		}
	}
}

// two rows, one of which loses what it is given.
func two() []measure.Row {
	row := func(name string, lost int64) measure.Row {
		open := func(context.Context) (measure.Load, error) {
			t := &tally{}
			return byHand(t, func(_ context.Context, n, _ int) error {
				t.n += int64(n) - lost
				return nil
			})
		}
		return measure.Row{
			Name: name, Count: 10,
			Ours: []measure.Ours{{Contestant: measure.Contestant{Name: "ours", Open: open}, Must: measure.Must{Why: "it is a test"}}},
		}
	}
	return []measure.Row{row("sound", 0), row("leaky", 1)}
}

func TestProgram(t *testing.T) {
	for args, c := range map[string]struct {
		code             int
		out, err, notOut string
	}{
		"-rounds 1 -rows sound":       {0, "| sound: ours |", "sound ...", "leaky"},
		"-rounds 1 -rows sound -json": {0, `"name": "sound"`, "sound ...", "|"},
		"-rounds 1":                   {1, "| sound: ours |", `row "leaky": ours: 9 messages came out, want 10`, "| leaky: ours |"},
		"-rows nobody":                {1, "", "no row matches", "|"},
		"-rounds none":                {2, "", "-rounds", "|"},
		"-help":                       {0, "", "only rows whose name matches", "|"},
	} {
		t.Run(args, func(t *testing.T) {
			var out, err bytes.Buffer
			code := run(t.Context(), strings.Fields(args), two(), &out, &err)
			if code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(err.String(), c.err) || strings.Contains(out.String(), c.notOut) {
				t.Fatalf("code %d, want %d\nout: %s\nerr: %s", code, c.code, &out, &err)
			}
			if strings.Contains(args, "json") && !json.Valid(out.Bytes()) {
				t.Fatalf("no JSON: %s", &out)
			}
		})
	}
}
