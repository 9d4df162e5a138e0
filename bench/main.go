package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/leat-go/leat/bench/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k := kafkaHere(ctx)
	code := run(ctx, os.Args[1:], allRows(million, k), os.Stdout, os.Stderr)
	if err := k.close(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
	}
	stop()
	os.Exit(code)
}

// flags are what the command line says.
type flags struct {
	options measure.Options
	rows    *regexp.Regexp
	json    bool
}

func parse(args []string, errOut io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(errOut)
	rows := set.String("rows", "", "only rows whose name matches this `regexp`, capitals or not")
	set.IntVar(&f.options.Rounds, "rounds", 5, "how often everybody runs")
	set.DurationVar(&f.options.Time, "time", time.Second, "how long a measurement takes; rows about a number of messages take theirs")
	set.Uint64Var(&f.options.Seed, "seed", 1, "of the order in which they run")
	set.StringVar(&f.options.Profile, "cpuprofile", "", "a `directory` for a CPU profile of each measurement")
	set.BoolVar(&f.json, "json", false, "print JSON, with every round, instead of a table")
	if err := set.Parse(args); err != nil {
		return f, fmt.Errorf("reading the command line: %w", err)
	}
	var err error
	switch f.rows, err = regexp.Compile("(?i)" + *rows); {
	case err != nil:
		return f, fmt.Errorf("-rows: %w", err)
	case set.NArg() > 0:
		return f, fmt.Errorf("%q is no flag: rows are chosen by -rows", set.Arg(0))
	case f.options.Rounds <= 0 || f.options.Time <= 0:
		return f, fmt.Errorf("-rounds %d -time %v: give more than 0 of each", f.options.Rounds, f.options.Time)
	}
	return f, nil
}

// run is the program; it returns what the process exits with.
func run(ctx context.Context, args []string, rows []measure.Row, out, errOut io.Writer) int {
	f, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(errOut, err)
		return 2
	}
	f.options.Log = errOut
	if err := f.measure(ctx, rows, out); err != nil {
		_, _ = fmt.Fprintln(errOut, err)
		return 1
	}
	return 0
}

func (f *flags) measure(ctx context.Context, rows []measure.Row, out io.Writer) error {
	var chosen []measure.Row
	for i := range rows {
		if f.rows.MatchString(rows[i].Name) {
			chosen = append(chosen, rows[i])
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no row matches -rows %s", f.rows)
	}
	report, err := measure.Run(ctx, chosen, f.options)
	if err != nil {
		return err
	}
	if f.json {
		lines := json.NewEncoder(out)
		lines.SetIndent("", "  ")
		err = lines.Encode(&report)
	} else {
		err = report.Markdown(out)
	}
	return errors.Join(err, report.Err())
}
