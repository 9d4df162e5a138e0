package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/leat-go/leat/flow"
)

// The exit codes.
const (
	exitBalanced = 0
	exitFailed   = 1 // not balanced, or something broke
	exitUsage    = 2 // bad flags, an unreadable input
)

// grace is how long after a signal what was taken may need to come to its end: below the 5 s after which
// impatient supervisors kill. The end of an input is waited for as long as it takes.
const grace = 3 * time.Second

//go:embed sample.jsonl
var sample []byte

// A program is the process around a run.
type program struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// run takes orders until the input or ctx ends, finishes what was taken, and gives the exit code.
func (p program) run(ctx context.Context) int {
	c, err := parseFlags(p.Args, p.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitBalanced
	}
	if err != nil {
		return p.fail(exitUsage, err)
	}
	var spans *tracer
	var more []flow.Part
	if c.Trace {
		spans = newTracer(c.Times)
		more = append(more, spans.part())
	}
	s, err := openShop(newLedger(p.Stdout), more...)
	if err != nil {
		return p.fail(exitFailed, err)
	}
	if c.Graph {
		if _, err := io.WriteString(p.Stdout, s.flow.Mermaid()); err != nil {
			return p.fail(exitFailed, err)
		}
		return exitBalanced
	}
	in, err := p.open(c.Orders)
	if err != nil {
		return p.fail(exitUsage, err)
	}
	defer func() { _ = in.Close() }()
	// The flow outlives the signal: it ends by being drained.
	if err := s.start(context.WithoutCancel(ctx)); err != nil {
		return p.fail(exitFailed, err)
	}
	code := exitBalanced
	if err := feed(ctx, in, s.take); err != nil {
		code = p.fail(codeOf(err), err)
	}
	ending, cancel := afterwards(ctx)
	defer cancel()
	if err := s.settle(ending, !c.NoRepair); err != nil {
		code = max(code, p.fail(exitFailed, err))
	}
	if err := s.close(ending); err != nil {
		code = max(code, p.fail(exitFailed, err))
	}
	if spans != nil {
		if err := spans.write(p.Stdout, s.ledger); err != nil {
			code = max(code, p.fail(exitFailed, err))
		}
	}
	text, balanced := s.accounting()
	if _, err := fmt.Fprintln(p.Stdout, text); err != nil || !balanced {
		code = max(code, exitFailed)
	}
	return code
}

// afterwards gives a context that ends some grace after ctx does.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, func() { cancel(context.DeadlineExceeded) })
		context.AfterFunc(later, func() { t.Stop() })
	})
	return later, func() { stop(); cancel(nil) }
}

// errInput is wrapped by every error that means: the input cannot be read.
var errInput = errors.New("orders cannot be read")

func codeOf(err error) int {
	if errors.Is(err, errInput) {
		return exitUsage
	}
	return exitFailed
}

// open opens what the command line names.
func (p program) open(path string) (io.ReadCloser, error) {
	switch path {
	case "":
		return io.NopCloser(bytes.NewReader(sample)), nil
	case "-":
		return io.NopCloser(p.Stdin), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInput, err)
	}
	return f, nil
}

// feed gives every line to take, with its number. When ctx ends it returns at once, even while a read waits
// for a terminal: what was not given to take was never received.
func feed(ctx context.Context, in io.Reader, take func(number int, line []byte) error) error {
	type read struct {
		line []byte
		err  error
	}
	stream := make(chan read)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for r := bufio.NewReader(in); ; {
			line, err := r.ReadBytes('\n')
			select {
			case stream <- read{line, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for number := 1; ; number++ {
		select {
		case <-ctx.Done():
			return nil
		case r := <-stream:
			if line := bytes.TrimSuffix(r.line, []byte{'\n'}); r.err == nil || len(line) > 0 {
				if err := take(number, line); err != nil {
					return err
				}
			}
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return fmt.Errorf("%w: line %d: %w", errInput, number, r.err)
			}
		}
	}
}

// fail says why in one line and gives the code back. When stderr is gone, nobody is left to be told.
func (p program) fail(code int, err error) int {
	_, _ = fmt.Fprintf(p.Stderr, "orders: %s\n", strings.Join(strings.Fields(err.Error()), " "))
	return code
}
