package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// Options say how long and how often.
type Options struct {
	Rounds int           // 0: 5
	Time   time.Duration // of one measurement; 0: 1 s
	Seed   uint64        // of the order in which contestants run
	Log    io.Writer     // a line before each row; nil: none
	// Profile is a directory that gets a CPU profile of each measurement: row, contestant and number in its
	// name. "": none is taken.
	Profile string
}

// Run measures the rows, one after the other. What goes wrong in a row is in its Result, and the others
// run all the same; the error says what all of them lack.
func Run(ctx context.Context, rows []Row, o Options) (Report, error) {
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	if o.Time == 0 {
		o.Time = time.Second
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Rounds < 0 || o.Time < 0 {
		return Report{}, fmt.Errorf("%d rounds of %v: give more than 0 of each", o.Rounds, o.Time)
	}
	var errs []error
	for i := range rows {
		errs = append(errs, rows[i].wrong())
	}
	if err := errors.Join(errs...); err != nil {
		return Report{}, err
	}
	rep := Report{Machine: ThisMachine(), Count: o.Rounds, Time: o.Time.String()}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	for i := range rows {
		r := &rows[i]
		_, _ = fmt.Fprintf(o.Log, "%s ...\n", r.Name)
		rep.Rows = append(rep.Rows, r.measure(ctx, o, random))
	}
	return rep, nil
}

// A lane is a contestant with its samples.
type lane struct {
	Contestant

	load        Load
	fits        int // messages of a measurement
	rates       []float64
	allocations []float64
}

func (r *Row) lanes() []*lane {
	var ls []*lane
	for _, c := range []*Contestant{r.Ceiling, r.Rival} {
		if c != nil {
			ls = append(ls, &lane{Contestant: *c})
		}
	}
	for _, o := range r.Ours {
		ls = append(ls, &lane{Contestant: o.Contestant})
	}
	return ls
}

func (r *Row) measure(ctx context.Context, o Options, random *rand.Rand) Result {
	if r.Needs != nil {
		if err := r.Needs(); err != nil {
			return r.result(nil, 0, err, nil)
		}
	}
	ls := r.lanes()
	var err error
	if r.Slice > 0 {
		err = r.slices(ctx, o, random, ls)
	} else {
		err = r.rounds(ctx, o, random, ls)
	}
	return r.result(ls, r.callers(), nil, err)
}

// rounds gives each measurement a contestant set up for it alone.
func (r *Row) rounds(ctx context.Context, o Options, random *rand.Rand, ls []*lane) error {
	for range o.Rounds {
		for _, i := range random.Perm(len(ls)) {
			l := ls[i]
			err := l.open(ctx)
			if err == nil {
				err = r.turn(ctx, l, o.Time, o.Profile)
			}
			if err := errors.Join(err, l.close()); err != nil {
				return fmt.Errorf("%s: %w", l.Name, err)
			}
		}
	}
	return nil
}

// slices sets all contestants up once, and has them run by turns.
func (r *Row) slices(ctx context.Context, o Options, random *rand.Rand, ls []*lane) (err error) {
	defer func() {
		for _, l := range ls {
			err = errors.Join(err, l.close())
		}
	}()
	for _, l := range ls {
		if err := l.open(ctx); err != nil {
			return fmt.Errorf("%s: %w", l.Name, err)
		}
	}
	for range max(int(time.Duration(o.Rounds)*o.Time/r.Slice), 1) {
		for _, i := range random.Perm(len(ls)) {
			if err := r.turn(ctx, ls[i], r.Slice, o.Profile); err != nil {
				return fmt.Errorf("%s: %w", ls[i].Name, err)
			}
		}
	}
	return nil
}

// turn is one measurement that takes about d.
func (r *Row) turn(ctx context.Context, l *lane, d time.Duration, profiles string) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*d+5*time.Minute, errStuck)
	defer cancel()
	if l.fits == 0 {
		if l.fits = cmp.Or(l.Count, r.Count); l.fits == 0 {
			if l.fits, err = r.fit(ctx, l.load, d); err != nil {
				return err
			}
		}
	}
	s, err := r.take(ctx, l.load, l.fits, profile{profiles, r.Name, l.Name, len(l.rates) + 1})
	if err != nil {
		return err
	}
	l.rates = append(l.rates, s.rate)
	l.allocations = append(l.allocations, s.allocations)
	return nil
}

func (l *lane) open(ctx context.Context) (err error) {
	l.load, err = l.Open(ctx)
	l.fits = 0
	return err
}

func (l *lane) close() error {
	end := l.load.Close
	l.load = Load{}
	if end == nil {
		return nil
	}
	return end()
}
