package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// A pipeline is the flow as run sees it.
type pipeline interface {
	// Take hands one event to the first topic; see take.
	Take(ctx context.Context, line []byte) error
	// Drain ends the input: what was taken is finished, open digests are completed and written. When
	// ctx ends first its error says what is left.
	Drain(ctx context.Context) error
	// Summary may be asked after Drain.
	Summary() summary
	// Graph is the flow in Mermaid.
	Graph() string
}

// A start builds the pipeline and starts it; with c.Graph it is asked for its Graph only and starts
// nothing. Digests go to out as JSON Lines, what a broker has to say to log.
type start func(ctx context.Context, c config, out, log io.Writer) (pipeline, error)

// The exit codes.
const (
	exitBalanced = 0
	exitFailed   = 1 // not balanced, or something broke
	exitUsage    = 2 // bad flags, an unreadable input, an address that cannot be listened on
)

// After a signal the requests in flight get serveGrace, the flow gets drainGrace: together below the
// 5 s after which impatient supervisors kill. The end of an input is waited for as long as it takes.
const (
	serveGrace = 1500 * time.Millisecond
	drainGrace = 3 * time.Second
)

// A program is the process around a run.
type program struct {
	Args   []string // without the program's name
	Getenv func(string) string
	Stdin  io.Reader
	Stdout io.Writer // digests
	Stderr io.Writer // all else
	Start  start
}

// run runs the program until its input or ctx ends, drains, and gives the exit code.
func (p program) run(ctx context.Context) int {
	c, err := parseFlags(p.Args, p.Getenv, p.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitBalanced
	}
	if err != nil {
		return p.fail(exitUsage, err)
	}
	if c.Graph {
		return p.graph(ctx, c)
	}
	feed, release, err := p.source(ctx, c)
	if err != nil {
		return p.fail(exitUsage, err)
	}
	began := time.Now()
	// The flow outlives the signal: it ends by being drained.
	flow, err := p.Start(context.WithoutCancel(ctx), c, p.Stdout, p.Stderr)
	if err != nil {
		return p.fail(exitFailed, errors.Join(err, release()))
	}
	code := exitBalanced
	if err := feed(ctx, flow.Take); err != nil {
		code = p.fail(codeOf(err), err)
	}
	if err := drain(ctx, flow); err != nil {
		code = max(code, p.fail(exitFailed, err))
	}
	s := flow.Summary()
	s.Elapsed = time.Since(began)
	if err := s.write(p.Stderr); err != nil || !s.Counts.balanced() {
		code = max(code, exitFailed)
	}
	return code
}

// drain waits for the flow: without limit after an input's end, for drainGrace after a signal, even
// one that comes while it waits.
func drain(ctx context.Context, flow pipeline) error {
	draining, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(drainGrace, func() { cancel(context.DeadlineExceeded) })
		context.AfterFunc(draining, func() { t.Stop() })
	})
	defer stop()
	if err := flow.Drain(draining); err != nil {
		return fmt.Errorf("draining the flow: %w", err)
	}
	return nil
}

// source opens what events come from, so that what cannot be opened is known before anything runs:
// feed feeds it until its end or the context's, release closes one that was not fed.
func (p program) source(ctx context.Context, c config) (feed func(context.Context, take) error, release func() error, err error) {
	if c.Listen == "" {
		in, err := openInput(c.Input, p.Stdin, c.Repeat)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, give take) error {
			bar := newProgress(p.Stderr)
			defer bar.done()
			_, err := in.feed(ctx, give, bar)
			if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
				return nil // asked to stop: what was taken is drained
			}
			return err
		}, in.Close, nil
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("listening on %s: %w", c.Listen, err)
	}
	return func(ctx context.Context, give take) error {
		p.say("taking webhooks on http://%s", ln.Addr())
		return serve(ctx, ln, &webhook{Take: give, Secret: c.Secret}, serveGrace, slog.New(slog.NewTextHandler(p.Stderr, nil)))
	}, ln.Close, nil
}

func (p program) graph(ctx context.Context, c config) int {
	flow, err := p.Start(ctx, c, p.Stdout, p.Stderr)
	if err != nil {
		return p.fail(exitFailed, err)
	}
	if _, err := fmt.Fprintln(p.Stdout, flow.Graph()); err != nil {
		return p.fail(exitFailed, err)
	}
	return exitBalanced
}

// fail says why in one line and gives the code back.
func (p program) fail(code int, err error) int {
	p.say("webhooks: %s", oneLine(err.Error()))
	return code
}

// say writes a line to stderr. When that is gone, nobody is left to be told.
func (p program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Stderr, format+"\n", args...)
}

func codeOf(err error) int {
	if errors.Is(err, errInput) {
		return exitUsage
	}
	return exitFailed
}
